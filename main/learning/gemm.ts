import { encodeModel, graph, model, node, value } from '../onnx/index.ts';
import { openSession, type Session } from '../runtime/session.ts';

const gemmModel = (transA: boolean, transB: boolean): Uint8Array =>
  encodeModel(
    model(
      graph({
        nodes: [node('Gemm', ['a', 'b'], ['c'], { transA: Number(transA), transB: Number(transB) })],
        inputs: [value('a', 'float64', ['m', 'k']), value('b', 'float64', ['k2', 'n'])],
        outputs: [value('c', 'float64', ['m2', 'n2'])],
      }),
    ),
  );

/** ORT's double Gemm: c = op(a) op(b). Whoever opens, disposes. */
export const openGemm = (transA: boolean, transB: boolean, threads: number): Promise<Session> =>
  openSession(gemmModel(transA, transB), { threads, name: 'double Gemm' });
