// Server-sent events of a model that takes long: its progress, then the answer. Read from the text that has come so far.

/** Complete events, in order. @returns {{name: string, data: any}[]} */
function eventsOf(text) {
  const blocks = text.split("\n\n").slice(0, -1);
  return blocks.flatMap((block) => {
    const name = /^event: (.*)$/m.exec(block)?.[1];
    const data = /^data: (.*)$/m.exec(block)?.[1];
    return name && data ? [{ name, data }] : [];
  });
}

/** The newest progress as words and a share. */
export function lastStage(text) {
  const end = text.indexOf("event: result"); // which may be long, and would be read again with every piece of it
  const last = eventsOf(end < 0 ? text : text.slice(0, end)).findLast(({ name }) => name === "progress");
  if (!last) return null;
  const { stage, done, total } = JSON.parse(last.data);
  const name = stage.charAt(0).toUpperCase() + stage.slice(1);
  return { name: total > 1 ? `${name}, step ${done} of ${total},` : name, share: total > 1 ? done / total : null };
}

/** The answer or the problem at the end. */
export function resultOf(text) {
  const last = eventsOf(text).at(-1);
  if (last?.name === "problem") return { problem: JSON.parse(last.data) };
  if (last?.name !== "result") return {};
  const { media_type: type, data, sentences } = JSON.parse(last.data);
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  return { result: { blob: new Blob([bytes], { type }), sentences } };
}
