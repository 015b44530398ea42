import tseslint from 'typescript-eslint';

/** What each folder of src may import from its siblings; anything absent is an error. */
const imports = {
  binary: [],
  vmdk: ['binary'],
  os: ['binary'],
  block: ['binary', 'vmdk', 'os'],
  fuse: ['binary', 'os'],
  volumes: ['binary', 'block'],
  image: ['binary', 'vmdk', 'os', 'block'],
  fs: ['binary', 'os', 'block', 'volumes', 'fuse'],
  mount: ['binary', 'vmdk', 'os', 'block', 'image', 'fuse', 'volumes', 'fs'],
  cli: ['binary', 'vmdk', 'os', 'block', 'image', 'fuse', 'volumes', 'fs', 'mount'],
};

/** Folders that are pure: bytes and text in, facts out. */
const pure = ['binary', 'vmdk'];

/** Functions of node:fs that lose bytes of paths that are no text; os/host-fs.ts has others. */
const onPaths = [
  'accessSync',
  'chmodSync',
  'existsSync',
  'linkSync',
  'lstatSync',
  'mkdirSync',
  'opendirSync',
  'openSync',
  'readdirSync',
  'readFileSync',
  'readlinkSync',
  'realpathSync',
  'renameSync',
  'rmdirSync',
  'rmSync',
  'statfsSync',
  'statSync',
  'unlinkSync',
  'writeFileSync',
];

const layers = Object.entries(imports).map(([layer, allowed]) => ({
  files: [`src/${layer}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        paths: [
          ...(pure.includes(layer) ? ['node:fs', 'node:fs/promises'] : []),
          ...(layer === 'os' ? [] : ['koffi']),
          ...(['os', 'fuse', ...pure].includes(layer)
            ? []
            : [{ name: 'node:fs', importNames: onPaths, message: 'Take it from os/host-fs.js.' }]),
        ],
        patterns: Object.keys(imports)
          .filter((other) => other !== layer && !allowed.includes(other))
          .map((other) => ({
            group: [`**/${other}/*`, `**/${other}/**`],
            message: `src/${layer} may not depend on src/${other}.`,
          })),
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['dist', '.bench', '.fuzz', 'node_modules'] },
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      complexity: ['error', 12],
      'max-lines': ['error', 400],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
      'no-restricted-syntax': ['error', 'TSEnumDeclaration', 'ExportDefaultDeclaration'],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/explicit-module-boundary-types': 'error',
    },
  },
  ...layers,
  {
    files: ['test/**/*.ts'],
    rules: {
      'max-lines-per-function': 'off',
      '@typescript-eslint/explicit-module-boundary-types': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    files: ['**/*.js', '*.config.ts'],
    extends: [tseslint.configs.disableTypeChecked],
    rules: {
      'no-restricted-syntax': ['error', 'TSEnumDeclaration'],
      '@typescript-eslint/explicit-module-boundary-types': 'off',
    },
  },
);
