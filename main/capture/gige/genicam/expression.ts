/*
 * Formulas of SwissKnife and Converter nodes (GenICam standard, "SwissKnife"): parsed once into a tree, evaluated over int64
 * (bigint, wrapping) or double. Nothing of a camera's description is ever run as code.
 */

export class ExpressionError extends Error {}

type Tree =
  | { kind: 'number'; integer: bigint | null; float: number }
  | { kind: 'name'; name: string }
  | { kind: 'call'; name: string; args: Tree[] }
  | { kind: 'unary'; op: string; of: Tree }
  | { kind: 'binary'; op: string; left: Tree; right: Tree }
  | { kind: 'choice'; test: Tree; yes: Tree; no: Tree };

export interface Expression {
  /** Names that it reads, functions and constants left out. */
  names: readonly string[];
  /** @throws ExpressionError for a division by zero or a name without a value. */
  integer(value: (name: string) => bigint): bigint;
  float(value: (name: string) => number): number;
}

/** Longer or deeper is no camera's formula; the bound keeps the parser's stack small. */
const MAX_LENGTH = 8_000;
const MAX_DEPTH = 200;

/** From loosest to tightest; `=` and `<>` are GenICam's equality, those of C are written by some cameras. */
const levels: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['|'],
  ['^'],
  ['&'],
  ['=', '==', '<>', '!='],
  ['<=', '>=', '<', '>'],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/', '%'],
];
const tokenPattern =
  /\s+|0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[A-Za-z_][A-Za-z0-9_.]*|\*\*|<<|>>|<=|>=|<>|==|!=|&&|\|\||[-+*/%&|^~!=<>()?:,]/y;

function tokensOf(text: string): string[] {
  if (text.length > MAX_LENGTH) throw new ExpressionError('the formula is too long');
  const tokens: string[] = [];
  tokenPattern.lastIndex = 0;
  while (tokenPattern.lastIndex < text.length) {
    const at = tokenPattern.lastIndex;
    const match = tokenPattern.exec(text);
    if (!match) throw new ExpressionError(`"${text.slice(at, at + 12)}" is not understood`);
    if (match[0].trim() !== '') tokens.push(match[0]);
  }
  return tokens;
}

const functions: Record<string, { args: readonly number[]; of(a: number, b: number): number }> = {
  SGN: { args: [1], of: Math.sign },
  NEG: { args: [1], of: (a) => -a },
  ABS: { args: [1], of: Math.abs },
  SQRT: { args: [1], of: Math.sqrt },
  EXP: { args: [1], of: Math.exp },
  LN: { args: [1], of: Math.log },
  LG: { args: [1], of: Math.log10 },
  SIN: { args: [1], of: Math.sin },
  COS: { args: [1], of: Math.cos },
  TAN: { args: [1], of: Math.tan },
  ASIN: { args: [1], of: Math.asin },
  ACOS: { args: [1], of: Math.acos },
  ATAN: { args: [1], of: Math.atan },
  TRUNC: { args: [1], of: Math.trunc },
  FLOOR: { args: [1], of: Math.floor },
  CEIL: { args: [1], of: Math.ceil },
  ROUND: { args: [1, 2], of: (a, digits = 0) => Math.round(a * 10 ** digits) / 10 ** digits },
};
const constants: Record<string, number> = { PI: Math.PI, E: Math.E };

/** A formula of a SwissKnife or a Converter (GenICam). @throws ExpressionError for what is none, and for one that is nested too deeply */
export function parseExpression(text: string): Expression {
  const tokens = tokensOf(text);
  const names = new Set<string>();
  let at = 0;
  let depth = 0;
  const accept = (...wanted: readonly string[]): string | null =>
    at < tokens.length && wanted.includes(tokens[at]!) ? tokens[at++]! : null;
  const expect = (wanted: string) => {
    if (!accept(wanted)) throw new ExpressionError(`"${wanted}" is missing before "${tokens[at] ?? 'the end'}"`);
  };

  const choice = (): Tree => {
    depth += 1;
    if (depth > MAX_DEPTH) throw new ExpressionError('the formula is nested too deeply');
    const test = binary(0);
    let result = test;
    if (accept('?')) {
      const yes = choice();
      expect(':');
      result = { kind: 'choice', test, yes, no: choice() };
    }
    depth -= 1;
    return result;
  };
  const binary = (level: number): Tree => {
    const ops = levels[level];
    if (!ops) return unary();
    let left = binary(level + 1);
    for (let op = accept(...ops); op; op = accept(...ops))
      left = { kind: 'binary', op, left, right: binary(level + 1) };
    return left;
  };
  const unary = (): Tree => {
    const op = accept('-', '+', '~', '!');
    if (!op) return power();
    depth += 1;
    if (depth > MAX_DEPTH) throw new ExpressionError('the formula is nested too deeply');
    const of = unary();
    depth -= 1;
    return { kind: 'unary', op, of };
  };
  const power = (): Tree => {
    const base = atom();
    if (!accept('**')) return base;
    depth += 1;
    if (depth > MAX_DEPTH) throw new ExpressionError('the formula is nested too deeply');
    const right = unary();
    depth -= 1;
    return { kind: 'binary', op: '**', left: base, right };
  };
  const atom = (): Tree => {
    const token = tokens[at++];
    if (token === undefined) throw new ExpressionError('the formula ends too early');
    if (token === '(') {
      const inner = choice();
      expect(')');
      return inner;
    }
    if (/^[0-9.]/.test(token)) {
      const whole = /^(0[xX][0-9a-fA-F]+|\d+)$/.test(token);
      return { kind: 'number', integer: whole ? BigInt(token) : null, float: Number(token) };
    }
    if (!/^[A-Za-z_]/.test(token)) throw new ExpressionError(`"${token}" is not expected there`);
    const upper = token.toUpperCase();
    if (accept('(')) {
      const made = Object.hasOwn(functions, upper) ? functions[upper]! : null;
      if (!made) throw new ExpressionError(`there is no function ${token}`);
      const args = [choice()];
      while (accept(',')) args.push(choice());
      expect(')');
      if (!made.args.includes(args.length))
        throw new ExpressionError(`${token} takes ${made.args.join(' or ')} values`);
      return { kind: 'call', name: upper, args };
    }
    names.add(token);
    return { kind: 'name', name: token };
  };

  const tree = choice();
  if (at < tokens.length) throw new ExpressionError(`"${tokens[at]}" is not expected there`);
  return {
    names: [...names],
    integer: (value) => BigInt.asIntN(64, integerOf(tree, value)),
    float: (value) => floatOf(tree, value),
  };
}

const bool = (value: boolean) => (value ? 1 : 0);

function floatOf(tree: Tree, value: (name: string) => number): number {
  switch (tree.kind) {
    case 'number':
      return tree.float;
    case 'name':
      return nameOf(tree.name, value, (constant) => constant);
    case 'call': {
      const args = tree.args.map((arg) => floatOf(arg, value));
      return functions[tree.name]!.of(args[0]!, args[1]!);
    }
    case 'unary': {
      const of = floatOf(tree.of, value);
      if (tree.op === '-') return -of;
      if (tree.op === '~') return Number(~toInteger(of));
      return tree.op === '!' ? bool(of === 0) : of;
    }
    case 'choice':
      return floatOf(floatOf(tree.test, value) !== 0 ? tree.yes : tree.no, value);
    case 'binary': {
      const a = floatOf(tree.left, value);
      if (tree.op === '&&') return bool(a !== 0 && floatOf(tree.right, value) !== 0);
      if (tree.op === '||') return bool(a !== 0 || floatOf(tree.right, value) !== 0);
      const b = floatOf(tree.right, value);
      switch (tree.op) {
        case '+':
          return a + b;
        case '-':
          return a - b;
        case '*':
          return a * b;
        case '/':
          if (b === 0) throw new ExpressionError('division by zero');
          return a / b;
        case '%':
          if (b === 0) throw new ExpressionError('division by zero');
          return a % b;
        case '**':
          return a ** b;
        case '=':
        case '==':
          return bool(a === b);
        case '<>':
        case '!=':
          return bool(a !== b);
        case '<':
          return bool(a < b);
        case '>':
          return bool(a > b);
        case '<=':
          return bool(a <= b);
        case '>=':
          return bool(a >= b);
        default:
          return Number(bits(tree.op, toInteger(a), toInteger(b)));
      }
    }
  }
}

function integerOf(tree: Tree, value: (name: string) => bigint): bigint {
  const flag = (test: boolean) => (test ? 1n : 0n);
  switch (tree.kind) {
    case 'number':
      return tree.integer ?? toInteger(tree.float);
    case 'name':
      return nameOf(tree.name, value, toInteger);
    case 'call': {
      const args = tree.args.map((arg) => integerOf(arg, value));
      const [a] = args;
      if (tree.name === 'ABS') return a! < 0n ? -a! : a!;
      if (tree.name === 'NEG') return -a!;
      if (tree.name === 'SGN') return a! > 0n ? 1n : a! < 0n ? -1n : 0n;
      return toInteger(functions[tree.name]!.of(Number(a), Number(args[1] ?? 0n)));
    }
    case 'unary': {
      const of = integerOf(tree.of, value);
      if (tree.op === '-') return -of;
      if (tree.op === '~') return ~of;
      return tree.op === '!' ? flag(of === 0n) : of;
    }
    case 'choice':
      return integerOf(integerOf(tree.test, value) !== 0n ? tree.yes : tree.no, value);
    case 'binary': {
      const a = integerOf(tree.left, value);
      if (tree.op === '&&') return flag(a !== 0n && integerOf(tree.right, value) !== 0n);
      if (tree.op === '||') return flag(a !== 0n || integerOf(tree.right, value) !== 0n);
      const b = integerOf(tree.right, value);
      switch (tree.op) {
        case '+':
          return BigInt.asIntN(64, a + b);
        case '-':
          return BigInt.asIntN(64, a - b);
        case '*':
          return BigInt.asIntN(64, a * b);
        case '/':
          if (b === 0n) throw new ExpressionError('division by zero');
          return a / b;
        case '%':
          if (b === 0n) throw new ExpressionError('division by zero');
          return a % b;
        case '**':
          return toInteger(Number(a) ** Number(b));
        case '=':
        case '==':
          return flag(a === b);
        case '<>':
        case '!=':
          return flag(a !== b);
        case '<':
          return flag(a < b);
        case '>':
          return flag(a > b);
        case '<=':
          return flag(a <= b);
        case '>=':
          return flag(a >= b);
        default:
          return bits(tree.op, a, b);
      }
    }
  }
}

function bits(op: string, a: bigint, b: bigint): bigint {
  switch (op) {
    case '&':
      return a & b;
    case '|':
      return a | b;
    case '^':
      return a ^ b;
    case '<<':
      return b >= 64n || b < 0n ? 0n : BigInt.asIntN(64, a << b);
    default:
      return b < 0n ? 0n : a >> (b > 63n ? 63n : b);
  }
}

function nameOf<T>(name: string, value: (name: string) => T, ofConstant: (constant: number) => T): T {
  const constant = Object.hasOwn(constants, name) ? constants[name]! : null;
  if (constant === null) return value(name);
  // A variable may be called E; then it is the variable that is meant.
  try {
    return value(name);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return ofConstant(constant);
  }
}

/** Cut off towards zero, to 64 bits. @throws ExpressionError for what is no finite number */
export function toInteger(value: number): bigint {
  if (!Number.isFinite(value)) throw new ExpressionError(`${value} is not a whole number`);
  return BigInt.asIntN(64, BigInt(Math.trunc(value)));
}
