// What both halves of the page use. Text goes in by textContent alone: nothing of the data is ever read as HTML.
"use strict";

const dataOf = (id) => JSON.parse(document.getElementById(id).textContent);

/** An element with a class, attributes and children; strings become text nodes. */
function element(tag, className, children = [], attributes = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
