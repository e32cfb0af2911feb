/** The import rules of the architecture: a lower layer may not import a higher one, and a package has one owner. */
const MAIN = '^main/';
const layers = [
  ['contract'],
  ['vision', 'onnx', 'store', 'audit'],
  ['runtime', 'autodiff', 'capture', 'lineio'],
  ['training', 'learning', 'inspection'],
  ['compression'],
  ['core'],
  ['host'],
];
const folder = (names) => `${MAIN}(${names.join('|')})/`;
const layerRules = layers.map((names, i) => ({
  name: `layer-${names.join('-')}`,
  comment: `${names.join(', ')} may be imported from above, and may not import what stands above them (ARCHITECTURE: who may import whom)`,
  severity: 'error',
  from: { path: folder(names) },
  to: { path: folder([...layers.slice(i + 1).flat(), 'shell']) },
}));
// Within a layer, folders are independent of each other; these pairs alone are meant.
const siblingRules = layers
  .filter((names) => names.length > 1)
  .flatMap((names) =>
    names.map((name) => ({
      name: `sibling-${name}`,
      comment: `${name} may not import ${names.filter((n) => n !== name).join(', ')}: folders of one layer do not know each other`,
      severity: 'error',
      from: { path: folder([name]) },
      to: {
        path: folder(
          names.filter(
            (n) => n !== name && !(name === 'learning' && n === 'training') && !(name === 'store' && n === 'audit'),
          ),
        ),
      },
    })),
  );
const owner = (pattern, path, why) => ({
  name: `only-${path.replace(/[^a-z-]/g, '')}`,
  comment: why,
  severity: 'error',
  from: { path: '^(main|renderer)/', pathNot: path },
  to: { path: pattern },
});

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'a cycle makes two folders one',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    ...layerRules,
    ...siblingRules,
    {
      name: 'inspection-no-store',
      comment: 'the hot path must not wait for a database, nor change what it judges by',
      severity: 'error',
      from: { path: '^main/inspection/' },
      to: { path: '^main/(store|learning)/' },
    },
    {
      name: 'contract-zod-only',
      comment: 'the boundary knows no runtime: zod only',
      severity: 'error',
      from: { path: '^main/contract/' },
      to: { pathNot: ['^main/contract/', 'node_modules/zod/'] },
    },
    {
      name: 'renderer-contract-only',
      comment: 'the window knows the core by its contract alone',
      severity: 'error',
      from: { path: '^renderer/' },
      to: { path: '^main/', pathNot: '^main/contract/' },
    },
    {
      name: 'shell-narrow',
      comment: "the shell knows the host's spawn port and the contract only: it holds no database and no model",
      severity: 'error',
      from: { path: '^main/shell/' },
      to: {
        path: '^main/',
        pathNot: [
          '^main/shell/',
          '^main/contract/',
          '^main/host/(supervisor|spawn|back-off|processes|log|content|version|home-folder|config|sealed-secrets|control|upkeep)',
        ],
      },
    },
    owner('node_modules/electron/', '^main/shell/', 'electron is imported in main/shell only'),
    owner(
      'node_modules/onnxruntime-',
      '^main/runtime/',
      'onnxruntime-node is imported in main/runtime only: one place owns sessions and threads',
    ),
    owner(
      'node_modules/(@types/)?better-sqlite3/',
      '^main/store/',
      'better-sqlite3 is imported in main/store only: one writer',
    ),
    owner('node_modules/sharp/', '^main/vision/', 'sharp is imported in main/vision only'),
    owner('^(node:)?dgram$', '^main/capture/gige/', 'UDP is spoken in main/capture/gige only'),
    {
      name: 'no-orphan-dev-deps',
      comment: 'shipped code may not import a development dependency',
      severity: 'error',
      from: { path: '^main/', pathNot: '^main/(host/build|shell)/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'main/tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.mjs', '.js', '.cjs', '.svelte'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
};
