import { describe, expect, it } from 'vitest';
import { AppError } from '../../../main/contract/errors.ts';
import { alarmText, faultText, shellTexts } from '../../../main/shell/texts.ts';
import { en } from '../../../renderer/lib/i18n/en.ts';
import { ja } from '../../../renderer/lib/i18n/ja.ts';

describe('a notification', () => {
  it('says of an alarm what the window says, and no direction that a chart of both does not know', () => {
    const measures = Object.keys(shellTexts('en').measures) as (keyof ReturnType<typeof shellTexts>['measures'])[];
    for (const measure of measures) {
      expect(shellTexts('en').measures[measure]).toBe(en[`alarm.${measure}`]);
      expect(shellTexts('ja').measures[measure]).toBe(ja[`alarm.${measure}`]);
    }
    expect(alarmText('en', 'Line $& 1', 'ng-share')).toBe(
      'Line $& 1: More parts are NG than before. Look at it under Live.',
    );
    expect(alarmText('ja', 'ライン 1', 'ng-share')).toBe(
      'ライン 1: NG の割合が以前より増えています。ライブ画面で確認してください。',
    );
  });

  it('tells the fault of a line in the language of the desktop', () => {
    const problem = new AppError('CAMERA_PIXELS', { cameraId: 'c-1', format: 'Mono12p' }).toProblem();
    expect(faultText('en', 'Line 1', problem)).toBe(`Line 1: ${problem.message}`);
    expect(faultText('ja', 'ライン 1', problem)).toBe('ライン 1: カメラ c-1 の画素形式 Mono12p は読み取れません。');
    // Of a newer core, and without a reason.
    expect(faultText('ja', 'ライン 1', { ...problem, code: 'SAID_LATER' })).toBe(`ライン 1: ${problem.message}`);
    expect(faultText('ja', 'ライン 1', null)).toBe('ライン 1');
  });
});
