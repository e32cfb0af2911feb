import type { NetworkWriter } from './layers.ts';

/**
 * ResNet-18 (He et al. 2016), layers and names as torchvision.models.resnet18. Convolutions start by He's fan-out rule, the classifier as
 * torch.nn.Linear does.
 * @param options width: multiplies 64, 128, 256, 512.
 */
export function writeResnet18(net: NetworkWriter, options: { classes: number; width: number }): string {
  const planes = [64, 128, 256, 512].map((channels) => Math.max(8, Math.round(channels * options.width)));
  const stem = planes[0]!;
  let x = net.conv('input', 'conv1', { inChannels: 3, outChannels: stem, kernel: 7, stride: 2 });
  x = net.relu(net.batchNorm(x, 'bn1', stem), 'relu');
  x = net.emit('MaxPool', [x], 'maxpool', { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] });
  let channels = stem;
  planes.forEach((outChannels, stage) => {
    for (let block = 0; block < 2; block++) {
      const stride = stage > 0 && block === 0 ? 2 : 1;
      x = basicBlock(net, x, `layer${stage + 1}.${block}`, { inChannels: channels, outChannels, stride });
      channels = outChannels;
    }
  });
  const bound = 1 / Math.sqrt(channels);
  return net.linear(
    net.globalPool(x),
    'fc',
    { inputs: channels, outputs: options.classes },
    { kind: 'uniform', bound },
    { kind: 'uniform', bound },
  );
}

function basicBlock(
  net: NetworkWriter,
  input: string,
  name: string,
  { inChannels, outChannels, stride }: { inChannels: number; outChannels: number; stride: number },
): string {
  let x = net.conv(input, `${name}.conv1`, { inChannels, outChannels, kernel: 3, stride });
  x = net.relu(net.batchNorm(x, `${name}.bn1`, outChannels), `${name}.relu1`);
  x = net.conv(x, `${name}.conv2`, { inChannels: outChannels, outChannels, kernel: 3 });
  x = net.batchNorm(x, `${name}.bn2`, outChannels);
  let identity = input;
  if (stride !== 1 || inChannels !== outChannels) {
    identity = net.conv(input, `${name}.downsample.0`, { inChannels, outChannels, stride });
    identity = net.batchNorm(identity, `${name}.downsample.1`, outChannels);
  }
  return net.relu(net.emit('Add', [x, identity], `${name}.add`), `${name}.relu2`);
}
