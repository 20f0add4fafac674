// Before anything is drawn, so that nothing flashes in the other colours.
try {
  const theme = localStorage.getItem("polystore.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing follows the system.
}
