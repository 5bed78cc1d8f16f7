/**
 * What the schema found wrong, in words that name the fix. Values of the file never appear in them:
 * any could be a secret.
 */
import type { z } from 'zod';
import type { ConfigProblem } from './config.ts';
import { type FieldTree, fieldTree } from './json-schema.ts';
import { nearest } from './suggest.ts';

type Issue = z.core.$ZodIssue;

/** The problems behind the schema's issues, in its order. */
export function problemsOf(issues: readonly Issue[], file: unknown): ConfigProblem[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => unknownKey(issue.path, key));
    }
    return [{ path: issue.path, at: 'value' as const, text: sentence(issue, file) }];
  });
}

function unknownKey(path: readonly PropertyKey[], key: string): ConfigProblem {
  const tree = fieldTree();
  const siblings = Object.keys(subtree(tree, path) ?? {});
  const near = nearest(key, siblings);
  const elsewhere = Object.keys(tree).find((name) => tree[name] && key in tree[name]);
  let advice = `the keys here are ${siblings.join(', ')}`;
  if (near !== undefined) advice = `did you mean ${near}?`;
  else if (key in tree) advice = 'it belongs at the left margin';
  else if (elsewhere !== undefined) advice = `it belongs under ${elsewhere}:`;
  return { path: [...path, key], at: 'key', text: `is not a known key: ${advice}` };
}

function subtree(tree: FieldTree, path: readonly PropertyKey[]): FieldTree | undefined {
  let at: FieldTree | null | undefined = tree;
  for (const key of path) if (typeof key === 'string') at = at?.[key];
  return at ?? undefined;
}

function sentence(issue: Issue, file: unknown): string {
  const value = valueAt(file, issue.path);
  switch (issue.code) {
    case 'custom':
      return issue.message;
    case 'invalid_value': {
      const words = issue.values.map(String);
      const near = typeof value === 'string' ? nearest(value, words) : undefined;
      const advice = near === undefined ? '' : `: did you mean ${near}?`;
      return `must be ${words.slice(0, -1).join(', ')} or ${words.at(-1)}${advice}`;
    }
    case 'too_small':
      return 'is empty: write a value, or remove the key';
    case 'invalid_type':
      return value === undefined ? 'is missing' : wrongType(issue.expected, value);
    default:
      return `is not valid (${issue.code})`;
  }
}

function wrongType(expected: string, value: unknown): string {
  switch (expected) {
    case 'boolean':
      return `must be true or false${typeof value === 'string' ? ', without quotes' : ''}`;
    case 'string':
      if (value === null) return 'is empty: write a value, or remove the key';
      return typeof value === 'object' ? 'must be text' : 'must be text: put it in quotes';
    case 'number':
      return 'must be a number';
    case 'array':
      return 'must be a list: put "- " before each item';
    default:
      return 'must be a group of keys, one a line, indented below it';
  }
}

function valueAt(file: unknown, path: readonly PropertyKey[]): unknown {
  let value = file;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return value;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
