// Imported first into the servers that the tests start: standard input ends with the test's process,
// however that ends, and this program with it.
process.stdin.on("end", () => process.exit()).resume();
