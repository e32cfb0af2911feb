import { divisibleBy8, type NetworkWriter } from './layers.ts';

/** [repeats, kernel, first stride, expansion, channels]; EfficientNet-B0 (Tan and Le 2019, table 1). */
const STAGES = [
  [1, 3, 1, 1, 16],
  [2, 3, 2, 6, 24],
  [2, 5, 2, 6, 40],
  [3, 3, 2, 6, 80],
  [3, 5, 1, 6, 112],
  [4, 5, 2, 6, 192],
  [1, 3, 1, 6, 320],
] as const;

/**
 * EfficientNet-lite0: B0 without squeeze-and-excite, ReLU6 for swish; layers and names as timm's efficientnet_lite0. Convolutions start
 * by fan-out divided by the groups, the classifier even within 1 / sqrt(classes), both as its reference code does.
 * @param options width: leaves stem and head as they are (as the lite family does).
 */
export function writeEfficientnetLite0(net: NetworkWriter, options: { classes: number; width: number }): string {
  let channels = 32;
  const conv = (
    input: string,
    name: string,
    norm: string,
    of: { inChannels: number; outChannels: number; kernel?: number; stride?: number; groups?: number },
  ) => {
    const fanOut = ((of.kernel ?? 1) ** 2 * of.outChannels) / (of.groups ?? 1);
    const start = { kind: 'normal', deviation: Math.sqrt(2 / fanOut) } as const;
    return net.batchNorm(net.conv(input, name, { ...of, start }), norm, of.outChannels);
  };
  let x = conv('input', 'conv_stem', 'bn1', { inChannels: 3, outChannels: channels, kernel: 3, stride: 2 });
  x = net.relu6(x, 'act1');
  STAGES.forEach(([repeats, kernel, firstStride, expansion, plain], stage) => {
    const outChannels = divisibleBy8(plain * options.width);
    for (let i = 0; i < repeats; i++) {
      const name = `blocks.${stage}.${i}`;
      const stride = i === 0 ? firstStride : 1;
      const hidden = channels * expansion;
      const input = x;
      let norm = 1;
      const nextNorm = () => `${name}.bn${norm++}`;
      if (expansion > 1) {
        x = conv(x, `${name}.conv_pw`, nextNorm(), { inChannels: channels, outChannels: hidden });
        x = net.relu6(x, `${name}.act${norm}`);
      }
      const depthwise = { inChannels: hidden, outChannels: hidden, kernel, stride, groups: hidden };
      x = net.relu6(conv(x, `${name}.conv_dw`, nextNorm(), depthwise), `${name}.act_dw`);
      const project = expansion > 1 ? `${name}.conv_pwl` : `${name}.conv_pw`;
      x = conv(x, project, nextNorm(), { inChannels: hidden, outChannels });
      if (stride === 1 && channels === outChannels) x = net.emit('Add', [x, input], `${name}.add`);
      channels = outChannels;
    }
  });
  x = net.relu6(conv(x, 'conv_head', 'bn2', { inChannels: channels, outChannels: 1280 }), 'act2');
  return net.linear(
    net.globalPool(x),
    'classifier',
    { inputs: 1280, outputs: options.classes },
    { kind: 'uniform', bound: 1 / Math.sqrt(options.classes) },
  );
}
