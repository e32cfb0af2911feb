import { expect, it } from 'vitest';
import { addressOf } from '../../../main/capture/gige/discovery.ts';

const local = ['127.0.0.1', '10.0.0.5'];

it('a camera is reached where it answered from, whatever it names', () => {
  expect(addressOf('192.168.7.20', '10.0.0.20', local)).toBe('10.0.0.20');
});

it('a program on this PC is reached where it listens: it answers from whichever interface asked', () => {
  expect(addressOf('127.0.0.1', '10.0.0.5', local)).toBe('127.0.0.1');
  expect(addressOf('0.0.0.0', '10.0.0.5', local)).toBe('10.0.0.5');
});
