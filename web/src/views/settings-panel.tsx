/** @file What can be changed: method, experts, spans with one expert, experts per token, temperatures. A change generates the answer anew. */

import { useState } from "preact/hooks";
import { poolOf } from "../generate.ts";
import { fillClass } from "../marks.ts";
import { METHOD_LABELS, methodChoices } from "../methods.ts";
import { change, run, selected, settings, world } from "../store.ts";

export function SettingsPanel() {
  const known = world.value;
  if (!known) return null;
  const { method, topK, routingTemperature, temperature, maxTokens, seed } = settings.value;
  const { routed, alone } = methodChoices(known);
  const isRouted = method !== "base" && !method.startsWith("expert ");
  const names = isRouted ? (poolOf(known)?.experts ?? []) : [];
  return (
    <section class="panel settings" aria-label="Settings">
      <h2>Routing</h2>
      <label class="field">
        Method
        <select value={method} onChange={(event) => change({ method: event.currentTarget.value, pins: [] })}>
          {routed.length > 0 && (
            <optgroup label="The pool, routed">
              {routed.map((name) => (
                <option key={name} value={name}>
                  {METHOD_LABELS[name] ?? name}
                </option>
              ))}
            </optgroup>
          )}
          <optgroup label="Without routing">
            {alone.map((name) => (
              <option key={name} value={name}>
                {METHOD_LABELS[name] ?? `${name.slice(7)} alone`}
              </option>
            ))}
          </optgroup>
        </select>
      </label>
      {names.length > 0 && <ExpertSwitches names={names} />}
      {names.length > 0 && <Pins names={names} />}
      <div class="grid">
        {names.length > 0 && (
          <>
            <NumberField
              label="Experts per token"
              value={topK}
              min={1}
              max={names.length}
              step={1}
              unset="auto"
              onChange={(value) => change({ topK: value })}
            />
            <NumberField
              label="Routing temperature"
              value={routingTemperature}
              min={0.05}
              max={100}
              step={0.05}
              unset="auto"
              onChange={(value) => change({ routingTemperature: value })}
            />
          </>
        )}
        <NumberField
          label="Temperature"
          value={temperature}
          min={0}
          max={2}
          step={0.1}
          onChange={(value) => change({ temperature: value ?? 0 })}
        />
        <NumberField
          label="Most tokens"
          value={maxTokens}
          min={1}
          max={known.maxTokens}
          step={1}
          onChange={(value) => change({ maxTokens: value ?? 64 })}
        />
        {temperature > 0 && (
          <NumberField label="Seed" value={seed} min={0} max={2 ** 31} step={1} onChange={(value) => change({ seed: value ?? 1 })} />
        )}
      </div>
    </section>
  );
}

function ExpertSwitches({ names }: { readonly names: readonly string[] }) {
  const { off } = settings.value;
  const isOn = (name: string) => !off.includes(name);
  const flip = (name: string) => {
    const next = isOn(name) ? [...off, name] : off.filter((one) => one !== name);
    if (names.some((one) => !next.includes(one))) change({ off: next });
  };
  const last = names.filter(isOn).length === 1;
  return (
    <fieldset class="experts">
      <legend>Experts that may serve</legend>
      {names.map((name, i) => (
        <label key={name} class={isOn(name) ? "" : "off"}>
          <input type="checkbox" checked={isOn(name)} disabled={last && isOn(name)} onChange={() => flip(name)} />
          <span class={fillClass(i)} aria-hidden="true" /> {name}
          <button
            type="button"
            class="small"
            onClick={() => change({ off: names.filter((one) => one !== name) })}
            aria-label={`Only ${name}`}
          >
            only
          </button>
        </label>
      ))}
      {off.length > 0 && (
        <button type="button" class="small" onClick={() => change({ off: [] })}>
          all on
        </button>
      )}
    </fieldset>
  );
}

/** One expert alone for a span of the answer. */
function Pins({ names }: { readonly names: readonly string[] }) {
  const { pins } = settings.value;
  const at = selected.value?.part === "answer" ? selected.value.token : 0;
  const [length, setLength] = useState(5);
  const [expert, setExpert] = useState(names[0] ?? "");
  if (!run.value || run.value.tokens.length === 0) return null;
  return (
    <fieldset class="pins">
      <legend>One expert for a span of tokens</legend>
      <ul>
        {pins.map((pin) => (
          <li key={`${pin.from} ${pin.to} ${pin.expert}`}>
            tokens {pin.from + 1} to {pin.to}: {pin.expert}{" "}
            <button
              type="button"
              class="small"
              aria-label={`Let go of ${pin.expert} at tokens ${pin.from + 1} to ${pin.to}`}
              onClick={() => change({ pins: pins.filter((one) => one !== pin) })}
            >
              let go
            </button>
          </li>
        ))}
      </ul>
      <div class="row">
        <label>
          from token {at + 1},{" "}
          <input type="number" min={1} max={500} value={length} onInput={(event) => setLength(Number(event.currentTarget.value) || 1)} />{" "}
          tokens
        </label>
        <select aria-label="Expert of the span" value={expert} onChange={(event) => setExpert(event.currentTarget.value)}>
          {names.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
        <button type="button" class="small" onClick={() => change({ pins: [...pins, { from: at, to: at + length, expert }] })}>
          pin
        </button>
      </div>
      <p class="note">The span begins at the chosen token of the answer.</p>
    </fieldset>
  );
}

interface NumberFieldProps {
  readonly label: string;
  readonly value: number | undefined;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly unset?: string;
  readonly onChange: (value: number | undefined) => void;
}

function NumberField({ label, value, min, max, step, unset, onChange }: NumberFieldProps) {
  const read = (text: string) => {
    const number = Number(text);
    if (text === "") onChange(undefined);
    else if (Number.isFinite(number)) onChange(Math.min(max, Math.max(min, number)));
  };
  return (
    <label class="field">
      {label}
      <input
        type="number"
        min={min}
        max={max}
        step={step}
        value={value ?? ""}
        placeholder={unset}
        onChange={(event) => read(event.currentTarget.value)}
      />
    </label>
  );
}
