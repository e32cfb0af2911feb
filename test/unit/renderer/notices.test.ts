import { expect, it } from 'vitest';
import { keptNotices } from '../../../renderer/app/notices.ts';

const notice = (id: number, error: unknown = null) => ({ id, error, text: '' });
const ids = (notices: readonly { id: number }[]) => notices.map(({ id }) => id);

it('keeps the last news and the last failures, neither at the expense of the other', () => {
  const failure = notice(0, new Error('unread'));
  const news = [1, 2, 3, 4].map((id) => notice(id));
  expect(ids(keptNotices([failure, ...news]))).toEqual([0, 2, 3, 4]);
  const failures = Array.from({ length: 22 }, (_, i) => notice(10 + i, new Error(`${i}`)));
  expect(ids(keptNotices([...news.slice(2), ...failures]))).toEqual([3, 4, ...ids(failures.slice(2))]);
});
