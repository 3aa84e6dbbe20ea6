// All texts on the page whose contrast (WCAG 2.2) with what lies behind them is too low.
(least) => {
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {  // whatever way a colour is written
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pixel.getImageData(0, 0, 1, 1).data;
    return { tint: [red, green, blue], alpha: alpha / 255 };
  };
  const over = (top, alpha, below) => top.map((part, n) => part * alpha + below[n] * (1 - alpha));
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const { tint, alpha } = rgba(getComputedStyle(element).backgroundColor);
    return alpha === 1 ? tint : over(tint, alpha, behind(element.parentElement));
  };
  const opacity = (element) =>
    element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1;
  const light = (tint) => {
    const [red, green, blue] = tint.map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (element, colour) => {
    const back = behind(element);
    const { tint, alpha } = rgba(colour);
    const [dark, bright] = [light(back), light(over(tint, alpha * opacity(element), back))].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const exempt = ":disabled, [aria-disabled=true], [aria-hidden=true], [data-stale=true], [data-testid=stIconMaterial], canvas, style";
  const told = [];
  const look = (element, colour, text) => {
    if (!element.checkVisibility() || element.closest(exempt)) return;
    const found = contrast(element, colour);
    if (found < least) told.push(`${found.toFixed(2)} ${text.trim().slice(0, 40)}`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { parentElement, data } = texts.currentNode;
    if (data.trim()) look(parentElement, getComputedStyle(parentElement).color, data);
  }
  for (const field of document.querySelectorAll("[placeholder]"))
    look(field, getComputedStyle(field, "::placeholder").color, field.placeholder);
  return told;
}
