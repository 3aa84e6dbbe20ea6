// Hears of clicks on links that carry data-do, anywhere on the page, and tells the script of them.
// They are buttons to whoever cannot see them, and so the space bar presses them, too.
export default function (component) {
  const { setTriggerValue } = component;
  const copied = (link) => {
    const label = link.textContent;
    link.textContent = "Copied";
    setTimeout(() => { link.textContent = label; }, 1500);
  };
  const heard = (event) => {
    const link = event.target.closest && event.target.closest("a[data-do]");
    if (!link) return;
    event.preventDefault();
    if (link.dataset.do === "copy") {
      navigator.clipboard.writeText(link.dataset.text).then(() => copied(link));
      return;
    }
    setTriggerValue("clicked", { do: link.dataset.do, of: Number(link.dataset.of), n: Number(link.dataset.n) });
  };
  const pressed = (event) => {
    if (event.key !== " " || !event.target.matches("a[data-do]")) return;
    event.preventDefault();  // no scrolling
    event.target.click();
  };
  document.addEventListener("click", heard);
  document.addEventListener("keydown", pressed);
  return () => {
    document.removeEventListener("click", heard);
    document.removeEventListener("keydown", pressed);
  };
}
