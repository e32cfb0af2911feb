import '../lib/zod-policy.ts';
import '../lib/browser-language.ts';
import '@fontsource-variable/inter/opsz.css';
import '@fontsource-variable/noto-sans-jp/wght.css';
import '../styles/tokens.css';
import '../styles/base.css';
import '../styles/shell.css';
import '../styles/parts.css';
import { mount } from 'svelte';
import { connect } from '../lib/connection.ts';
import { AppState } from './app-state.svelte.ts';
import App from './App.svelte';
// After the components: the size steps override what screens set.
import '../styles/sizes.css';
import '../styles/print.css';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');
const app = new AppState(connect(), localStorage, __WINDOW_VERSION__);
app.open();
mount(App, { target, props: { app } });
