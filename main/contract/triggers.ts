/* What the line-output thread and the capture thread of a line process say to each other; neither knows the other. */

export type LineioToCapture =
  /** The PLC's trigger was accepted as this part; answered by `untaken` if no frame can be asked for. */
  | { kind: 'trigger'; part: number }
  /** Lot that the control wrote; empty: none. It is that of the triggers, and of the frames, from now on. */
  | { kind: 'lot'; lot: string }
  /** Triggers that the line output refused itself. */
  | { kind: 'refused'; count: number };

export interface CaptureToLineio {
  kind: 'untaken';
  part: number;
}
