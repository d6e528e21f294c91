/**
 * @file Second-order importance through gates, with the Fisher information in place of the Hessian.
 *
 * References: LeCun et al., "Optimal Brain Damage" (1990); Theis et al., "Faster gaze prediction with dense networks and
 * Fisher pruning" (2018).
 *
 *   score_u = ½ mean_s g_u,s²;   predicted ΔNLL of removal: −mean_s g_u,s + ½ mean_s g_u,s²
 *
 * g is the gradient of a sequence's loss per token with respect to the unit's gate (`taylor.ts`);
 * the diagonal of the Hessian is approximated by the mean of squared gradients, which holds near a
 * minimum. Costs nothing beyond first order. Not included: the off-diagonal part, which would show
 * units that replace one another.
 */
import { meanAndError } from "../../stats/ratio.ts";

/** From gate gradients (sequences), in nats per token. The score is in nats² per token². */
export function fisherImportance(gradients: readonly number[]): {
  value: number;
  standardError: number;
  predicted: number;
} {
  const { mean, standardError } = meanAndError(gradients.map((g) => (g * g) / 2));
  return { value: mean, standardError, predicted: mean - meanAndError(gradients).mean };
}
