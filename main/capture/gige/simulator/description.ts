import { zipSync } from 'fflate';
import { formatCode, patternFormats } from './test-pattern.ts';
import { limits } from './settings.ts';

/* The simulated camera's description of itself (GenICam GenApi schema 1.1, feature names of SFNC), and its feature registers. */

/** Registers of the features, 32 bits each; all that is not in the bootstrap registers. */
export const featureRegister = {
  width: 0x10_0000,
  height: 0x10_0004,
  pixelFormat: 0x10_0008,
  acquisitionMode: 0x10_000c,
  acquisitionStart: 0x10_0010,
  acquisitionStop: 0x10_0014,
  /** IEEE 754 single. */
  frameRate: 0x10_0018,
  /** IEEE 754 single, microseconds. */
  exposureUs: 0x10_001c,
  /** Tenths of a decibel. */
  gain: 0x10_0020,
  triggerSelector: 0x10_0024,
  triggerMode: 0x10_0028,
  triggerSource: 0x10_002c,
  triggerSoftware: 0x10_0030,
  chunkMode: 0x10_0034,
  payloadSize: 0x10_0038,
} as const;
export const FEATURES_END = 0x10_0040;
export const DESCRIPTION_ADDRESS = 0x20_0000;

export const acquisitionMode = { continuous: 0, singleFrame: 1 } as const;
export const triggerSource = { software: 0, line1: 1 } as const;

const hex = (value: number) => `0x${value.toString(16).toUpperCase()}`;
const register = (name: string, address: number, access: 'RO' | 'WO' | 'RW') =>
  `<IntReg Name="${name}"><Address>${hex(address)}</Address><Length>4</Length><AccessMode>${access}</AccessMode>` +
  `<pPort>Device</pPort><Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg>`;
const floatRegister = (name: string, address: number) =>
  `<FloatReg Name="${name}"><Address>${hex(address)}</Address><Length>4</Length><AccessMode>RW</AccessMode>` +
  `<pPort>Device</pPort><Endianess>BigEndian</Endianess></FloatReg>`;
const text = (name: string, address: number, length: number) =>
  `<StringReg Name="${name}"><Address>${hex(address)}</Address><Length>${length}</Length><AccessMode>RO</AccessMode>` +
  `<pPort>Device</pPort></StringReg>`;
const category = (name: string, features: readonly string[]) =>
  `<Category Name="${name}" NameSpace="Standard">${features.map((f) => `<pFeature>${f}</pFeature>`).join('')}</Category>`;
const entries = (choices: Record<string, number>) =>
  Object.entries(choices)
    .map(([name, value]) => `<EnumEntry Name="${name}" NameSpace="Standard"><Value>${value}</Value></EnumEntry>`)
    .join('');
const enumeration = (name: string, choices: Record<string, number>, reference: string, more = '') =>
  `<Enumeration Name="${name}" NameSpace="Standard">${more}${entries(choices)}<pValue>${reference}</pValue></Enumeration>`;
const command = (name: string, reference: string, more = '') =>
  `<Command Name="${name}" NameSpace="Standard">${more}<pValue>${reference}</pValue><CommandValue>1</CommandValue></Command>`;
/** Sizes cannot change while a receiver has made room for them. */
const locked = '<pIsLocked>TLParamsLocked</pIsLocked>';

const acquisitionFeatures = [
  'AcquisitionMode',
  'AcquisitionStart',
  'AcquisitionStop',
  'AcquisitionFrameRate',
  'ExposureTime',
  'TriggerSelector',
  'TriggerMode',
  'TriggerSource',
  'TriggerSoftware',
];

/** @returns the XML, pretty enough to be read. */
export function describeCamera(device: { manufacturer: string; model: string }): string {
  const at = featureRegister;
  const formats = Object.fromEntries(patternFormats.map((name) => [name, formatCode(name)!]));
  const nodes = [
    category('Root', [
      'DeviceControl',
      'ImageFormatControl',
      'AcquisitionControl',
      'AnalogControl',
      'ChunkDataControl',
    ]),
    category('DeviceControl', ['DeviceVendorName', 'DeviceModelName', 'DeviceVersion', 'DeviceSerialNumber']),
    category('ImageFormatControl', ['SensorWidth', 'SensorHeight', 'Width', 'Height', 'PixelFormat', 'PayloadSize']),
    category('AcquisitionControl', acquisitionFeatures),
    category('AnalogControl', ['Gain']),
    category('ChunkDataControl', ['ChunkModeActive']),
    category('TransportLayerControl', ['TLParamsLocked', 'GevSCPSPacketSize', 'GevHeartbeatTimeout']),
    text('DeviceVendorName', 0x48, 32),
    text('DeviceModelName', 0x68, 32),
    text('DeviceVersion', 0x88, 32),
    text('DeviceSerialNumber', 0xd8, 16),
    `<Integer Name="SensorWidth" NameSpace="Standard"><ImposedAccessMode>RO</ImposedAccessMode><Value>${limits.width}</Value></Integer>`,
    `<Integer Name="SensorHeight" NameSpace="Standard"><ImposedAccessMode>RO</ImposedAccessMode><Value>${limits.height}</Value></Integer>`,
    `<Integer Name="Width" NameSpace="Standard">${locked}<pValue>WidthReg</pValue><Min>16</Min><pMax>SensorWidth</pMax><Inc>4</Inc></Integer>`,
    register('WidthReg', at.width, 'RW'),
    `<Integer Name="Height" NameSpace="Standard">${locked}<pValue>HeightReg</pValue><Min>2</Min><pMax>SensorHeight</pMax><Inc>2</Inc></Integer>`,
    register('HeightReg', at.height, 'RW'),
    enumeration('PixelFormat', formats, 'PixelFormatReg', locked),
    register('PixelFormatReg', at.pixelFormat, 'RW'),
    `<Integer Name="PayloadSize" NameSpace="Standard"><pValue>PayloadSizeReg</pValue></Integer>`,
    register('PayloadSizeReg', at.payloadSize, 'RO'),
    enumeration('AcquisitionMode', { Continuous: 0, SingleFrame: 1 }, 'AcquisitionModeReg', locked),
    register('AcquisitionModeReg', at.acquisitionMode, 'RW'),
    command('AcquisitionStart', 'AcquisitionStartReg'),
    register('AcquisitionStartReg', at.acquisitionStart, 'WO'),
    command('AcquisitionStop', 'AcquisitionStopReg'),
    register('AcquisitionStopReg', at.acquisitionStop, 'WO'),
    `<Float Name="AcquisitionFrameRate" NameSpace="Standard"><pValue>FrameRateReg</pValue><Min>0.1</Min><Max>${limits.framesPerSecond}</Max><Unit>Hz</Unit></Float>`,
    floatRegister('FrameRateReg', at.frameRate),
    `<Float Name="ExposureTime" NameSpace="Standard"><pValue>ExposureReg</pValue><Min>10</Min><Max>10000000</Max><Unit>us</Unit></Float>`,
    floatRegister('ExposureReg', at.exposureUs),
    `<Float Name="Gain" NameSpace="Standard"><pValue>GainConverter</pValue><Min>0</Min><Max>24</Max><Unit>dB</Unit></Float>`,
    `<Converter Name="GainConverter"><FormulaTo>FROM * 10</FormulaTo><FormulaFrom>TO / 10</FormulaFrom><pValue>GainReg</pValue></Converter>`,
    register('GainReg', at.gain, 'RW'),
    enumeration('TriggerSelector', { FrameStart: 0 }, 'TriggerSelectorReg'),
    register('TriggerSelectorReg', at.triggerSelector, 'RW'),
    enumeration('TriggerMode', { Off: 0, On: 1 }, 'TriggerModeReg'),
    register('TriggerModeReg', at.triggerMode, 'RW'),
    enumeration('TriggerSource', { Software: 0, Line1: 1 }, 'TriggerSourceReg'),
    register('TriggerSourceReg', at.triggerSource, 'RW'),
    command('TriggerSoftware', 'TriggerSoftwareReg', '<pIsAvailable>TriggerBySoftware</pIsAvailable>'),
    register('TriggerSoftwareReg', at.triggerSoftware, 'WO'),
    `<IntSwissKnife Name="TriggerBySoftware"><pVariable Name="MODE">TriggerModeReg</pVariable><pVariable Name="SOURCE">TriggerSourceReg</pVariable><Formula>(MODE = 1) &amp;&amp; (SOURCE = 0)</Formula></IntSwissKnife>`,
    `<Boolean Name="ChunkModeActive" NameSpace="Standard">${locked}<pValue>ChunkModeReg</pValue><OnValue>1</OnValue><OffValue>0</OffValue></Boolean>`,
    register('ChunkModeReg', at.chunkMode, 'RW'),
    `<Integer Name="TLParamsLocked" NameSpace="Standard"><Value>0</Value><Min>0</Min><Max>1</Max></Integer>`,
    `<Integer Name="GevSCPSPacketSize" NameSpace="Standard">${locked}<pValue>PacketSizeReg</pValue><Min>576</Min><Max>${limits.largestPacket}</Max><Inc>4</Inc></Integer>`,
    `<MaskedIntReg Name="PacketSizeReg"><Address>0xD04</Address><Length>4</Length><AccessMode>RW</AccessMode><pPort>Device</pPort><LSB>31</LSB><MSB>16</MSB><Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></MaskedIntReg>`,
    `<Integer Name="GevHeartbeatTimeout" NameSpace="Standard"><pValue>HeartbeatReg</pValue><Min>500</Min><Unit>ms</Unit></Integer>`,
    register('HeartbeatReg', 0x938, 'RW'),
    `<Port Name="Device" NameSpace="Standard"/>`,
  ];
  const guid = '00000000-0000-0000-0000-000000000000';
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<RegisterDescription ModelName="${device.model}" VendorName="${device.manufacturer}" ToolTip="Simulated camera"`,
    '  StandardNameSpace="GEV" SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0"',
    `  MajorVersion="1" MinorVersion="0" SubMinorVersion="0" ProductGuid="${guid}" VersionGuid="${guid}"`,
    '  xmlns="http://www.genicam.org/GenApi/Version_1_1">',
    ...nodes.map((node) => `  ${node}`),
    '</RegisterDescription>',
    '',
  ].join('\n');
}

/** As it lies in the camera's memory, and the URL that says where (GigE Vision, "XML description file"). */
export function storeDescription(xml: string, zipped: boolean): { bytes: Buffer; url: string } {
  const content = Buffer.from(xml, 'utf8');
  const bytes = zipped ? Buffer.from(zipSync({ 'camera.xml': content })) : content;
  const file = zipped ? 'camera.zip' : 'camera.xml';
  return { bytes, url: `Local:${file};${DESCRIPTION_ADDRESS.toString(16)};${bytes.length.toString(16)}` };
}
