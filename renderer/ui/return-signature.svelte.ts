import { t } from '../lib/i18n/language.svelte.ts';

/** What is typed to sign that an earlier model is to inspect again; the core asks for it, as for an approval (main/core/signed-decisions.ts). */
export class ReturnSignature {
  password = $state('');
  meaning = $state(0);
  readonly meanings = $derived([t('return.meaning1'), t('return.meaning2'), t('return.meaning3')]);

  /** As the core takes it, in the words that were chosen; null: no password was typed. */
  get given(): { password: string; meaning: string } | null {
    const meaning = this.meanings[this.meaning];
    return this.password === '' || meaning === undefined ? null : { password: this.password, meaning };
  }
}
