import { SaxesParser } from 'saxes';

/** An element of a camera's description. Text is that between its own tags alone. */
export interface Element {
  tag: string;
  attributes: Readonly<Record<string, string>>;
  children: Element[];
  text: string;
}

export class DescriptionError extends Error {}

/** Largest descriptions of real cameras: about 3 MB and 30,000 elements. */
export const MAX_XML_BYTES = 32 * 2 ** 20;
const MAX_ELEMENTS = 500_000;
const MAX_DEPTH = 64;

/** Strict XML without namespaces; entities other than XML's five do not exist, so nothing expands. @throws DescriptionError */
export function parseXml(text: string): Element {
  const root: Element = { tag: '', attributes: {}, children: [], text: '' };
  const open: Element[] = [root];
  let elements = 0;
  const parser = new SaxesParser({ position: true });
  parser.on('error', (error) => {
    throw new DescriptionError(`the description is not XML: ${error.message}`);
  });
  parser.on('doctype', () => {
    throw new DescriptionError('the description has a document type, which GenICam does not know');
  });
  parser.on('opentag', (tag) => {
    elements += 1;
    if (elements > MAX_ELEMENTS || open.length > MAX_DEPTH) throw new DescriptionError('the description is too large');
    const element: Element = {
      tag: tag.name.slice(tag.name.indexOf(':') + 1),
      attributes: tag.attributes as Record<string, string>,
      children: [],
      text: '',
    };
    open.at(-1)!.children.push(element);
    open.push(element);
  });
  const addText = (piece: string) => {
    open.at(-1)!.text += piece;
  };
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.on('closetag', () => {
    const closed = open.pop()!;
    closed.text = closed.text.trim();
  });
  parser.write(text).close();
  const top = root.children[0];
  if (!top) throw new DescriptionError('the description is empty');
  return top;
}
