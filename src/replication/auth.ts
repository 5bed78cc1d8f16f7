/**
 * Proof of the shared secret: HMAC-SHA-256 over a label for the side that proves, both nonces and both node ids.
 * Each side has chosen a nonce, so nothing that was heard before can be said again; the label keeps
 * one side's proof from serving as the other's.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

export interface AuthContext {
  readonly clientNonce: Buffer;
  readonly serverNonce: Buffer;
  readonly clientId: string;
  readonly serverId: string;
}

export type Side = 'client' | 'server';

export const PROOF_BYTES = 32;

/** The proof of one side: 32 bytes. Without a secret both sides compute it with an empty one. */
export function proof(secret: string | undefined, side: Side, context: AuthContext): Buffer {
  return createHmac('sha256', secret ?? '')
    .update(`litefs-lite ${side} `)
    .update(context.clientNonce)
    .update(context.serverNonce)
    .update(`${context.clientId} ${context.serverId}`)
    .digest();
}

export function isProof(
  given: Buffer,
  secret: string | undefined,
  side: Side,
  context: AuthContext,
): boolean {
  return given.length === PROOF_BYTES && timingSafeEqual(given, proof(secret, side, context));
}
