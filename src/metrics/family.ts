/** Families of numbers that stand somewhere in the program already: read when Prometheus asks, kept by prom-client. */
import type { Metric, MetricValue, Registry } from 'prom-client';

export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Distribution {
  readonly labels: Readonly<Record<string, string>>;
  /** How many were within each bound and above the one before; the last: above all. */
  readonly counts: readonly number[];
  readonly sum: number;
}

interface Description {
  readonly name: string;
  readonly help: string;
}

type Values = MetricValue<string> & { metricName?: string };

/** Of numbers that only grow: `name` ends in _total. */
export function counter(registry: Registry, about: Description, read: () => Sample[]): void {
  register(registry, about, 'counter', () => read().map(withLabels));
}

export function gauge(registry: Registry, about: Description, read: () => Sample[]): void {
  register(registry, about, 'gauge', () => read().map(withLabels));
}

/** Of times and sizes that were sorted into buckets by their upper bounds. */
export function histogram(
  registry: Registry,
  about: Description,
  bounds: readonly number[],
  read: () => Distribution[],
): void {
  const { name } = about;
  register(registry, about, 'histogram', () =>
    read().flatMap(({ labels, counts, sum }) => {
      let total = 0;
      const buckets = counts.map((count, i): Values => {
        total += count;
        const le = i < bounds.length ? bounds[i] : '+Inf';
        return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: total };
      });
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: total },
      ];
    }),
  );
}

function register(
  registry: Registry,
  { name, help }: Description,
  type: 'counter' | 'gauge' | 'histogram',
  read: () => Values[],
): void {
  const metric = {
    name,
    help,
    labelNames: [],
    async get() {
      return { name, help, type, aggregator: 'sum', values: read() };
    },
    reset() {},
  };
  // prom-client's own classes count by themselves; of a metric the registry needs no more than this.
  registry.registerMetric(metric as unknown as Metric);
}

function withLabels({ labels = {}, value }: Sample): Values {
  return { labels, value };
}
