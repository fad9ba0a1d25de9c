// SPDX-License-Identifier: ISC
// cddl_judge.mjs FOLDER CDDL: JSON values, a line each, against the first rule of a CDDL file. A line of answer each: good or bad.
//
// The CDDL is read by the npm package `cddl` in FOLDER, which has no part in Crenel. What its tree means is written here from
// RFC 8610, for the forms that are met; one that is not known ends the program.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [folder, file] = process.argv.slice(2)
const { parse } = await import(pathToFileURL(createRequire(folder + '/').resolve('cddl')))
const rules = parse(file)

function holdsControl(control, value) {
    const bound = control.Value
    if (control.Type === 'size') {
        const bytes = Buffer.byteLength(value)
        return bound.Type === 'range' ? bytes >= bound.Value.Min.Value && bytes <= bound.Value.Max.Value : bytes === bound.Value
    }
    if (control.Type === 'regexp') return new RegExp('^(?:' + bound.Value + ')$', 'u').test(value)
    throw new Error('control ' + control.Type)
}

function holdsRange(range, value) {
    if (typeof value !== 'number' || value < range.Min.Value || value > range.Max.Value) return false
    return range.Min.IsFloat || Number.isInteger(value)
}

function holds(type, value) {
    if (type === 'tstr' || type === 'bool') return holdsName(type, value)
    if (type.Operator) return holds(type.Type, value) && holdsControl(type.Operator, value)
    switch (type.Type) {
    case 'literal': return value === type.Value
    case 'range': return holdsRange(type.Value, value)
    case 'array': return Array.isArray(value) && holdsItems(type.Values, value)
    case 'group': return type.Properties ? holdsMap(type, value) : holdsName(type.Value, value)
    }
    throw new Error('type ' + JSON.stringify(type))
}

function holdsName(name, value) {
    if (name === 'tstr') return typeof value === 'string'
    if (name === 'bool') return typeof value === 'boolean'
    const rule = rules.find((one) => one.Name === name)
    if (!rule) throw new Error('rule ' + name)
    return rule.Type === 'group' ? holdsMap(rule, value) : holdsChoice(rule.PropertyType, value, rule.Operator)
}

// The reader puts a control behind the last type of a choice beside the choice.
function holdsChoice(types, value, control) {
    const all = [types].flat()
    return all.some((type, i) => holds(type, value) && (!control || i + 1 < all.length || holdsControl(control, value)))
}

function holdsItems(entries, items) {
    if (entries.length !== 1) throw new Error('an array of several entries')
    const { n, m } = entries[0].Occurrence
    return items.length >= n && items.length <= m && items.every((item) => holdsChoice(entries[0].Type, item, entries[0].Operator))
}

function holdsMap(group, value) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
    const names = group.Properties.map((p) => p.Name)
    return Object.keys(value).every((name) => names.includes(name)) &&
           group.Properties.every((p) => Object.hasOwn(value, p.Name) && holdsChoice(p.Type, value[p.Name], p.Operator))
}

for (const line of readFileSync(0, 'utf8').split('\n').filter((text) => text !== ''))
    console.log(holdsMap(rules[0], JSON.parse(line)) ? 'good' : 'bad')
