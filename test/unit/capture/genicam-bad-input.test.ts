import { zipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { parseUrl, unpackDescription } from '../../../main/capture/gige/genicam/fetch.ts';
import { createNodeMap, FeatureError } from '../../../main/capture/gige/genicam/node-map.ts';
import { parseDescription } from '../../../main/capture/gige/genicam/nodes.ts';
import { DescriptionError, parseXml } from '../../../main/capture/gige/genicam/xml.ts';
import { describeCamera } from '../../../main/capture/gige/simulator/description.ts';
import { createDescriptionFuzz } from '../../helpers/genicam-fuzz.ts';

const noPort = { read: async () => new Uint8Array(4), write: async () => {} };
const mapOf = (nodes: string) => createNodeMap(`<RegisterDescription>${nodes}</RegisterDescription>`, noPort);

describe('descriptions that no camera should have', () => {
  it('fail in words, feature by feature', async () => {
    const fuzz = createDescriptionFuzz(6);
    for (let i = 0; i < 300; i += 1) await fuzz.next();
    const { refused, failures, values, features } = fuzz.counts;
    // Neither is everything refused, nor does everything pass.
    expect(refused).toBeGreaterThan(20);
    expect(features).toBeGreaterThan(2_000);
    expect(failures).toBeGreaterThan(1_000);
    expect(values).toBeGreaterThan(1_000);
  });

  it('may go in circles', async () => {
    const map = mapOf(
      '<Integer Name="A"><pValue>B</pValue></Integer><Integer Name="B"><pValue>A</pValue></Integer>' +
        '<IntSwissKnife Name="K"><pVariable Name="X">K</pVariable><pVariable Name="Y">K</pVariable><Formula>X+Y</Formula></IntSwissKnife>' +
        '<Float Name="F"><pMin>F</pMin><pMax>F</pMax><pValue>F</pValue><pIsAvailable>F</pIsAvailable></Float>',
    );
    for (const name of ['A', 'K', 'F']) {
      await expect(map.integer(name)).rejects.toThrow(FeatureError);
      await expect(map.range(name).then((range) => (range ? 'a range' : 'none')))
        .rejects.toThrow(FeatureError)
        .catch(
          // A formula has no limits at all.
          async () => expect(await map.range(name)).toBeNull(),
        );
      expect((await map.describe(name)).value).toBeNull();
    }
  });

  it('may name bits that are none', async () => {
    for (const [lsb, msb] of [
      ['0', '0.5'],
      ['-1', '3'],
      ['0', '64'],
      ['x', '3'],
    ]) {
      const map = mapOf(
        `<MaskedIntReg Name="M"><Address>0</Address><Length>4</Length><LSB>${lsb}</LSB><MSB>${msb}</MSB></MaskedIntReg>`,
      );
      expect(await map.integer('M')).toBe(0);
    }
  });

  it('may refer to what is not there', async () => {
    const map = mapOf(
      '<Integer Name="A"><pValue>Nobody</pValue></Integer><Category Name="Root"><pFeature>Ghost</pFeature></Category>',
    );
    await expect(map.integer('A')).rejects.toThrow(/Nobody is not in the description/);
    await expect(map.integer('Ghost')).rejects.toThrow(FeatureError);
    expect(map.features()).toEqual([]);
  });

  it('expand nothing', () => {
    const laughs =
      '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><RegisterDescription>&b;</RegisterDescription>';
    expect(() => parseXml(laughs)).toThrow(/document type/);
    expect(() => parseXml('<RegisterDescription>&b;</RegisterDescription>')).toThrow(DescriptionError);
    const file = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><RegisterDescription>&a;</RegisterDescription>';
    expect(() => parseXml(file)).toThrow(/document type/);
    expect(parseXml('<a>&lt;&#65;&amp;</a>').text).toBe('<A&');
  });

  it('may be huge', () => {
    expect(() => parseXml(`<a>${'<b/>'.repeat(500_001)}</a>`)).toThrow(/too large/);
    expect(() => parseXml('<a>'.repeat(10_000))).toThrow(/too large/);
    const long = parseXml(`<a b="${'x'.repeat(1e6)}">${'y'.repeat(1e6)}</a>`);
    expect(long.text.length).toBe(1e6);
    expect(() => parseDescription('<a/>')).toThrow(DescriptionError);
    expect(() => parseDescription('')).toThrow(DescriptionError);
    expect(() => parseDescription('<RegisterDescription/>')).toThrow(/no nodes/);
  });

  it('may be zipped, but not to burst', () => {
    const xml = describeCamera({ manufacturer: 'M', model: 'F' });
    const zip = zipSync({ 'a.xml': Buffer.from(xml) });
    expect(unpackDescription(zip)).toBe(xml.trim());
    const bomb = zipSync({ 'a.xml': new Uint8Array(8 * 2 ** 20) }, { level: 1 });
    const sizeAt = bomb.length - 22 - 46 - 'a.xml'.length + 24;
    const said = (size: number) => {
      const bytes = Buffer.from(bomb);
      bytes.writeUInt32LE(size, sizeAt);
      return bytes;
    };
    expect(Buffer.from(bomb).readUInt32LE(sizeAt)).toBe(8 * 2 ** 20);
    expect(() => unpackDescription(said(64 * 2 ** 20))).toThrow(/no XML of a fit size/);
    // What is unpacked gets no more room than the directory says.
    expect(() => parseDescription(unpackDescription(said(1_000)))).toThrow(DescriptionError);
    for (let cut = 0; cut < zip.length; cut += 97) {
      expect(() => unpackDescription(zip.subarray(0, cut || 2))).toThrow(DescriptionError);
    }
  });

  it('may be one file of a zip among few', () => {
    const named = (count: number) =>
      zipSync(Object.fromEntries(Array.from({ length: count }, (_, n) => [`${n}.xml`, Buffer.from(`<a>${n}</a>`)])));
    const two = Buffer.from(named(2));
    expect(unpackDescription(two)).toBe('<a>0</a>');
    // The second by a method that nobody knows: it is not unpacked at all.
    two.writeUInt16LE(99, two.length - 22 - 46 - '1.xml'.length + 10);
    expect(unpackDescription(two)).toBe('<a>0</a>');
    expect(unpackDescription(named(100))).toBe('<a>0</a>');
    expect(() => unpackDescription(named(101))).toThrow(/too many files/);
    expect(() => unpackDescription(named(101))).toThrow(DescriptionError);
  });

  it('are read from the memory of the camera alone', () => {
    expect(parseUrl('Local:camera.xml;200000;1f4')).toEqual({ name: 'camera.xml', address: 0x20_0000, length: 0x1f4 });
    expect(parseUrl('local:///camera.zip;C0000000;10?SchemaVersion=1.1.0')).toMatchObject({ length: 0x10 });
    for (const url of [
      'http://example.com/camera.xml',
      'file:///etc/passwd',
      'Local:camera.xml',
      'Local:camera.xml;0;0',
      'Local:camera.xml;fffffff0;20',
      'Local:camera.xml;0;7fffffff',
      '',
    ]) {
      expect(parseUrl(url)).toBeNull();
    }
  });
});
