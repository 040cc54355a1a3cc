// Prints medians, and how Portreeve's compare with each peer's.

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Prints rows of cells as an aligned Markdown table; the first row is the head. */
function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`;
  const [head, ...body] = rows;
  console.log([line(head), line(widths.map((w) => '-'.repeat(w))), ...body.map(line)].join('\n'));
}

/** Portreeve's figure as a multiple of a peer's. */
function ratio(name, own, peer) {
  const multiple = own / peer;
  return name !== 'portreeve' && Number.isFinite(multiple) ? `${multiple.toFixed(2)} x` : '';
}

/** Three significant digits, never with an exponent; a dash where nothing was measured. */
function figure(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : '-';
}

/** How far the rounds lie apart, as a part of the median. */
function spread(values) {
  return percent((Math.max(...values) - Math.min(...values)) / median(values));
}

function percent(value) {
  return Number.isFinite(value) ? `${(100 * value).toFixed(0)} %` : '-';
}

function failures(samples) {
  const failed = samples.reduce((sum, sample) => sum + sample.failed, 0);
  const problem = samples.find((sample) => sample.problem)?.problem;
  return failed === 0 ? '0' : `${failed}: ${problem ?? 'not ended in time'}`;
}

export function printScenario(scenario, samplesByLoad) {
  for (const [load, bySystem] of Object.entries(samplesByLoad)) {
    const cpuOf = (samples) => samples.map(({ cpu, units }) => (cpu * scenario.cpuScale) / units);
    const own = bySystem.portreeve && median(cpuOf(bySystem.portreeve));
    const head = [
      'system',
      `CPU ${scenario.cpuUnit}/${scenario.unit}`,
      "portreeve's CPU",
      'spread',
      scenario.rate,
      'proxy core',
      'other core',
      'failed',
    ];
    const rows = Object.entries(bySystem).map(([name, samples]) => {
      const cpu = median(cpuOf(samples));
      const rate = median(samples.map(({ units, seconds }) => units / seconds));
      return [
        name,
        figure(cpu),
        ratio(name, own, cpu),
        spread(cpuOf(samples)),
        figure(rate * scenario.rateScale),
        percent(median(samples.map((sample) => sample.cpu / sample.seconds))),
        percent(median(samples.map((sample) => sample.otherCpu / sample.seconds))),
        failures(samples),
      ];
    });
    console.log(`\n## ${scenario.name}: ${scenario.title}; ${load}\n`);
    printTable([head, ...rows]);
  }
}

export function printMemory({ connections }, bySystem) {
  const bytes = (name) => median(bySystem[name].map((sample) => sample.bytes));
  const own = bySystem.portreeve && bytes('portreeve');
  const head = ['system', 'KiB/connection', "portreeve's memory", 'process MiB', 'failed'];
  const rows = Object.entries(bySystem).map(([name, samples]) => [
    name,
    (bytes(name) / 1024).toFixed(1),
    ratio(name, own, bytes(name)),
    (median(samples.map((sample) => sample.base)) / 2 ** 20).toFixed(0),
    failures(samples),
  ]);
  console.log(`\n## memory: resident memory of an idle proxied connection; ${connections} held\n`);
  printTable([head, ...rows]);
}

export function printSandbox(cases) {
  const head = [
    'handler',
    'sandbox us/event',
    'plain us/event',
    'difference us',
    'sandbox / plain',
  ];
  const rows = cases.map(({ name, sandbox, plain }) => {
    const [guest, host] = [median(sandbox), median(plain)];
    const figures = [guest, host, guest - host].map((us) => us.toFixed(2));
    return [name, ...figures, `${(guest / host).toFixed(1)} x`];
  });
  console.log('\n## sandbox: an event in the sandbox against the same rule as plain JavaScript\n');
  printTable([head, ...rows]);
}
