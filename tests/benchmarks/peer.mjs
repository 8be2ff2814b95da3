// The contender `js`: @gradio/client, run as contenders.py runs the others.
import { readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { Client } from "@gradio/client";

const spec = JSON.parse(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const picture = new Blob([readFileSync(spec.picture)], { type: "image/png" });
const quantile = (values, part) =>
	[...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(part * values.length))];

async function report(mark, found = {}) {
	writeSync(1, JSON.stringify({ mark, ...found }) + "\n");
	if ((await lines.next()).done) process.exit(0);
}

function peerAt(url) {
	let client;
	return async (image, prompt) => {
		client ??= Client.connect(url);
		return (await client).submit("/generate", [image, prompt]);
	};
}

async function one(submit, step) {
	const start = performance.now();
	const found = { times: [], late: [] };
	let position = 0;
	const job = await submit(step.picture ? picture : null, JSON.stringify(step.prompt));
	for await (const message of job) {
		if (message.type === "status" && message.stage === "error") throw new Error(message.message);
		if (message.type !== "data") continue;
		const chunk = message.data[0].slice(position);
		position = message.data[0].length;
		if (!chunk) continue;
		found.times.push((performance.now() - start) / 1000);
		found.first_at ??= Date.now() / 1000;
		if (step.prompt.stamp) found.late.push(Date.now() / 1000 - parseFloat(chunk));
		if (step.cancel) {
			found.cancelled_at = Date.now() / 1000;
			await job.cancel();
			return found;
		}
		if (step.pause && found.times.length === 1) await new Promise((r) => setTimeout(r, step.pause * 1000));
	}
	if (!position || (step.chars ?? position) !== position) throw new Error(`the answer has ${position} characters`);
	return found;
}

async function run(submit, step) {
	const start = performance.now();
	const usage = process.cpuUsage();
	const results = [];
	for (let time = 0; time < (step.times ?? 1); time++)
		results.push(...await Promise.allSettled(Array.from({ length: step.count ?? 1 }, () => one(submit, step))));
	const total = (performance.now() - start) / 1000;
	const cpu = process.cpuUsage(usage);
	const good = results.filter((r) => r.status === "fulfilled").map((r) => r.value);
	const bad = results.filter((r) => r.status === "rejected");
	const firsts = good.map((r) => r.times[0]);
	const gaps = good.flatMap((r) => r.times.slice(1).map((t, i) => t - r.times[i]));
	const late = good.flatMap((r) => r.late);
	return {
		first: quantile(firsts, 0.5), first_max: quantile(firsts, 1), total,
		gap50: quantile(gaps, 0.5), gap99: quantile(gaps, 0.99),
		late50: quantile(late, 0.5), late99: quantile(late, 0.99),
		cpu: (cpu.user + cpu.system) / 1e6, first_at: good[0]?.first_at, cancelled_at: good[0]?.cancelled_at,
		error: bad.length ? `${bad.length} of ${results.length} failed: ${bad[0].reason}`.slice(0, 200) : undefined,
	};
}

if (spec.warm) await one(peerAt(spec.warm), { prompt: { tokens: 3 }, picture: true });
const submit = peerAt(spec.url);
await report("start");
for (const step of spec.steps) await report(step.mark, await run(submit, step));
process.exit(0);
