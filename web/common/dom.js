// Elements. Texts go in as text, never as markup: they come from anywhere.

export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The graph's canvas moves nodes with the mouse and takes letters for commands; not those meant for these `parts`. */
export function keepFromCanvas(root, parts = "button, input") {
  for (const type of ["pointerdown", "mousedown", "dblclick", "keydown"]) {
    root.addEventListener(type, (event) => {
      if (!(event.ctrlKey || event.metaKey) && event.target.closest(parts)) event.stopPropagation();
    });
  }
}

/** Put a part's style sheet on the page, once, behind the one that all parts share. */
export function loadStyles(own) {
  for (const { href } of [new URL("./part.css", import.meta.url), own]) {
    if (!document.querySelector(`link[href="${href}"]`)) document.head.append(element("link", { rel: "stylesheet", href }));
  }
}
