import { DescriptionError, parseXml, type Element } from './xml.ts';

/** One node of a description: its element, and how to ask for the parts of it. */
export interface Node {
  name: string;
  /** Element name of the GenICam schema: Integer, IntReg, Converter … */
  kind: string;
  /** Text of the first such child; null: none. */
  text(tag: string): string | null;
  all(tag: string): Element[];
}

export interface Description {
  nodes: ReadonlyMap<string, Node>;
  model: string;
  vendor: string;
}

const toNode = (name: string, kind: string, children: readonly Element[]): Node => {
  const byTag = new Map<string, Element[]>();
  for (const child of children) {
    const list = byTag.get(child.tag);
    if (list) list.push(child);
    else byTag.set(child.tag, [child]);
  }
  return {
    name,
    kind,
    text: (tag) => byTag.get(tag)?.[0]?.text ?? null,
    all: (tag) => byTag.get(tag) ?? [],
  };
};

/** Parsed once; the first of two nodes of one name counts. @throws DescriptionError */
export function parseDescription(xml: string): Description {
  const root = parseXml(xml);
  if (root.tag !== 'RegisterDescription') throw new DescriptionError(`the description begins with <${root.tag}>`);
  const nodes = new Map<string, Node>();
  const add = (node: Node) => {
    if (!nodes.has(node.name)) nodes.set(node.name, node);
  };
  const addAll = (elements: readonly Element[]): void => {
    for (const element of elements) {
      const name = element.attributes.Name;
      if (element.tag === 'Group') addAll(element.children);
      else if (element.tag === 'StructReg') {
        // Its entries are bit fields of one register: what is not said in the entry is said in the struct.
        const shared = element.children.filter((child) => child.tag !== 'StructEntry');
        for (const entry of element.children.filter((child) => child.tag === 'StructEntry')) {
          const entryName = entry.attributes.Name;
          if (entryName) add(toNode(entryName, 'MaskedIntReg', [...entry.children, ...shared]));
        }
      } else if (name) {
        add(toNode(name, element.tag, element.children));
        for (const entry of element.children) {
          if (entry.tag === 'EnumEntry' && entry.attributes.Name) {
            // Entries of several enumerations may share a name: told apart by their enumeration.
            add(toNode(`${name}/${entry.attributes.Name}`, 'EnumEntry', entry.children));
          }
        }
      }
    }
  };
  addAll(root.children);
  if (nodes.size === 0) throw new DescriptionError('the description has no nodes');
  return { nodes, model: root.attributes.ModelName ?? '', vendor: root.attributes.VendorName ?? '' };
}

/** For an element that is a node by itself inside another (an address's IntSwissKnife). */
export const innerNode = (element: Element): Node =>
  toNode(element.attributes.Name ?? `<${element.tag}>`, element.tag, element.children);
