import { divisibleBy8, type NetworkWriter, type NormOptions } from './layers.ts';

/** [expansion, channels, repeats, first stride], table 2 of Sandler et al. 2018. */
const V2_STAGES = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

/** MobileNetV2, layers and names as torchvision.models.mobilenet_v2 (`width` is its width_mult). */
export function writeMobilenetV2(net: NetworkWriter, options: { classes: number; width: number }): string {
  const { width } = options;
  let channels = divisibleBy8(32 * width);
  const unit = (
    input: string,
    name: string,
    of: { inChannels: number; outChannels: number; kernel?: number; stride?: number; groups?: number },
  ) => net.relu6(net.batchNorm(net.conv(input, `${name}.0`, of), `${name}.1`, of.outChannels), `${name}.2`);
  let x = unit('input', 'features.0', { inChannels: 3, outChannels: channels, kernel: 3, stride: 2 });
  let at = 1;
  for (const [expansion, plain, repeats, firstStride] of V2_STAGES) {
    const outChannels = divisibleBy8(plain * width);
    for (let i = 0; i < repeats; i++) {
      const name = `features.${at++}`;
      const stride = i === 0 ? firstStride : 1;
      const hidden = Math.round(channels * expansion);
      const input = x;
      let part = 0;
      if (expansion !== 1) x = unit(x, `${name}.conv.${part++}`, { inChannels: channels, outChannels: hidden });
      x = unit(x, `${name}.conv.${part++}`, {
        inChannels: hidden,
        outChannels: hidden,
        kernel: 3,
        stride,
        groups: hidden,
      });
      x = net.conv(x, `${name}.conv.${part++}`, { inChannels: hidden, outChannels });
      x = net.batchNorm(x, `${name}.conv.${part}`, outChannels);
      if (stride === 1 && channels === outChannels) x = net.emit('Add', [input, x], `${name}.add`);
      channels = outChannels;
    }
  }
  const last = divisibleBy8(1280 * Math.max(1, width));
  x = unit(x, `features.${at}`, { inChannels: channels, outChannels: last });
  return net.linear(
    net.globalPool(x),
    'classifier.1',
    { inputs: last, outputs: options.classes },
    { kind: 'normal', deviation: 0.01 },
  );
}

/** [kernel, expanded, out, squeeze and excite, hard swish (else ReLU), stride], table 2 of Howard et al. 2019. */
const V3_SMALL_BLOCKS = [
  [3, 16, 16, true, false, 2],
  [3, 72, 24, false, false, 2],
  [3, 88, 24, false, false, 1],
  [5, 96, 40, true, true, 2],
  [5, 240, 40, true, true, 1],
  [5, 240, 40, true, true, 1],
  [5, 120, 48, true, true, 1],
  [5, 144, 48, true, true, 1],
  [5, 288, 96, true, true, 2],
  [5, 576, 96, true, true, 1],
  [5, 576, 96, true, true, 1],
] as const;

const V3_NORM: NormOptions = { epsilon: 1e-3, momentum: 0.99 };

/** MobileNetV3-small, layers, names and BatchNorm settings as torchvision.models.mobilenet_v3_small. */
export function writeMobilenetV3Small(net: NetworkWriter, options: { classes: number; width: number }): string {
  const wide = (channels: number) => divisibleBy8(channels * options.width);
  const unit = (
    input: string,
    name: string,
    of: { inChannels: number; outChannels: number; kernel?: number; stride?: number; groups?: number },
    activation: 'relu' | 'hardSwish' | 'none',
  ) => {
    const normed = net.batchNorm(net.conv(input, `${name}.0`, of), `${name}.1`, of.outChannels, V3_NORM);
    if (activation === 'none') return normed;
    return activation === 'relu' ? net.relu(normed, `${name}.2`) : net.hardSwish(normed, `${name}.2`);
  };
  let channels = wide(16);
  let x = unit('input', 'features.0', { inChannels: 3, outChannels: channels, kernel: 3, stride: 2 }, 'hardSwish');
  V3_SMALL_BLOCKS.forEach(([kernel, plainExpanded, plainOut, squeeze, swish, stride], i) => {
    const name = `features.${i + 1}`;
    const [expanded, outChannels] = [wide(plainExpanded), wide(plainOut)];
    const activation = swish ? 'hardSwish' : 'relu';
    const input = x;
    let part = 0;
    const next = () => `${name}.block.${part++}`;
    if (expanded !== channels) x = unit(x, next(), { inChannels: channels, outChannels: expanded }, activation);
    const depthwise = { inChannels: expanded, outChannels: expanded, kernel, stride, groups: expanded };
    x = unit(x, next(), depthwise, activation);
    if (squeeze) x = squeezeExcite(net, x, next(), expanded, divisibleBy8(Math.floor(expanded / 4)));
    x = unit(x, next(), { inChannels: expanded, outChannels }, 'none');
    if (stride === 1 && channels === outChannels) x = net.emit('Add', [x, input], `${name}.add`);
    channels = outChannels;
  });
  const last = 6 * channels;
  x = unit(x, `features.${V3_SMALL_BLOCKS.length + 1}`, { inChannels: channels, outChannels: last }, 'hardSwish');
  const hidden = wide(1024);
  const start = { kind: 'normal', deviation: 0.01 } as const;
  x = net.linear(net.globalPool(x), 'classifier.0', { inputs: last, outputs: hidden }, start);
  x = net.hardSwish(x, 'classifier.1');
  return net.linear(x, 'classifier.3', { inputs: hidden, outputs: options.classes }, start);
}

/** Channel gates from the map's mean (Hu et al. 2018), as torchvision.ops.SqueezeExcitation. */
function squeezeExcite(net: NetworkWriter, input: string, name: string, channels: number, squeezed: number): string {
  let x = net.emit('GlobalAveragePool', [input], `${name}.avgpool`);
  x = net.conv(x, `${name}.fc1`, { inChannels: channels, outChannels: squeezed, bias: true });
  x = net.relu(x, `${name}.activation`);
  x = net.conv(x, `${name}.fc2`, { inChannels: squeezed, outChannels: channels, bias: true });
  x = net.hardSigmoid(x, `${name}.scale_activation`);
  return net.emit('Mul', [x, input], name);
}
