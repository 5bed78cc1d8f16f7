/**
 * The config schema for others: JSON Schema for editors (yaml-language-server reads draft 7), and
 * the fields that have no effect.
 */
import { z } from 'zod';
import { configFileSchema } from './schema.ts';

export interface JsonSchema {
  type?: string;
  description?: string;
  properties?: Record<string, JsonSchema>;
  /** Ours: why setting this changes nothing. */
  ineffective?: string;
  [keyword: string]: unknown;
}

/** An unexpanded `${VAR}` or `$VAR` stands for a value of any type. */
const VARIABLE = { type: 'string', pattern: '\\$' };

/** The schema as it is, with our own `ineffective` marks. */
function annotatedSchema(): JsonSchema {
  return z.toJSONSchema(configFileSchema, {
    io: 'input',
    target: 'draft-7',
    override: ({ jsonSchema }) => {
      const schema = jsonSchema as JsonSchema;
      if (schema.orText) {
        const { description, default: preset, orText, ...list } = schema;
        for (const keyword of Object.keys(list)) delete schema[keyword];
        delete schema.orText;
        schema.anyOf = [{ type: 'string' }, list];
      }
    },
  }) as JsonSchema;
}

/** JSON Schema (draft 7) of the config file as it is written, before variables are expanded. */
export function configJsonSchema(): JsonSchema {
  const schema = annotatedSchema();
  allowVariables(schema);
  return { title: 'litefs-lite', ...schema };
}

function allowVariables(schema: JsonSchema): void {
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    if (field.ineffective !== undefined) {
      field.deprecated = true;
      field.description += ` No effect: ${field.ineffective}.`;
      delete field.ineffective;
    }
    allowVariables(field);
    const { description, default: preset, deprecated, ...rest } = field;
    const isText = rest.type === 'string' && rest.enum === undefined && rest.pattern === undefined;
    if (isText || rest.properties || rest.not) continue;
    const alternatives = (rest.anyOf as JsonSchema[] | undefined) ?? [rest];
    (schema.properties as Record<string, JsonSchema>)[name] = {
      description,
      ...(preset === undefined ? {} : { default: preset }),
      ...(deprecated === undefined ? {} : { deprecated }),
      anyOf: [...alternatives, VARIABLE],
    };
  }
}

/** Paths of fields and sections that change nothing here, with the reason. */
export function ineffectiveFields(): { path: string[]; reason: string }[] {
  const found: { path: string[]; reason: string }[] = [];
  const walk = (schema: JsonSchema, path: string[]): void => {
    if (schema.ineffective !== undefined) found.push({ path, reason: schema.ineffective });
    else {
      for (const [name, field] of Object.entries(schema.properties ?? {})) {
        walk(field, [...path, name]);
      }
    }
  };
  walk(annotatedSchema(), []);
  return found;
}

/** The keys of the file: null for a field, a tree for a section or for the items of a list. */
export interface FieldTree {
  readonly [key: string]: FieldTree | null;
}

export function fieldTree(): FieldTree {
  const tree = (schema: JsonSchema): FieldTree | null => {
    const list = (schema.anyOf as JsonSchema[] | undefined)?.find(({ items }) => items);
    const properties = (list ? (list.items as JsonSchema) : schema).properties;
    return properties
      ? Object.fromEntries(Object.entries(properties).map(([key, field]) => [key, tree(field)]))
      : null;
  };
  return tree(annotatedSchema()) ?? {};
}
