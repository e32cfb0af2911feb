import { errorCodes, layOut, registerMap, signalNames, type SignalName, type SignalRow } from './register-map.ts';

export interface MapDocument {
  signals: (SignalRow & { name: SignalName })[];
  errorCodes: { code: number; meaning: string }[];
}

/**
 * The register map of a station as a document for whoever programs the PLC.
 * @throws INVALID_INPUT for addresses that cannot be
 */
export function mapDocument(addresses: Readonly<Record<string, number>> = {}): MapDocument {
  const { addressOf } = layOut(addresses);
  return {
    signals: signalNames.map((name) => ({ name, ...registerMap[name], address: addressOf[name] })),
    errorCodes: Object.values(errorCodes).map(([code, meaning]) => ({ code, meaning })),
  };
}

const markdownTable = (rows: readonly (readonly (string | number)[])[]): string =>
  rows
    .flatMap((row, i) => {
      const line = `| ${row.join(' | ')} |`;
      return i === 0 ? [line, `|${' --- |'.repeat(row.length)}`] : [line];
    })
    .join('\n');

export const mapMarkdown = ({ signals, errorCodes: codes }: MapDocument): string =>
  [
    markdownTable([
      ['signal', 'area', 'address', 'type', 'meaning'],
      ...signals.map((s) => [`\`${s.name}\``, s.area, s.address, s.type, s.meaning]),
    ]),
    markdownTable([['error code', 'meaning'], ...codes.map(({ code, meaning }) => [code, meaning])]),
  ].join('\n\n');
