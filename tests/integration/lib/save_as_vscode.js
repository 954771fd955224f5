// Saves as VS Code does, for one long session (its own sequence of calls and its own rule for a conflict):
// stat; open(w|trunc) write fdatasync close; stat. Reads one JSON string a line, the text to be saved, or
// "overwrite" (save the last text in spite of a conflict), and answers in one line: "saved", "conflict", or
// "failed: REASON".
//     save_as_vscode.js PATH
"use strict";
const { promises: fs } = require("fs");
const readline = require("readline");

const path = process.argv[2];
let sync = true;

function conflict(now, known, data, bytes) {
    return now.mtimeMs > known.mtimeMs && now.size !== known.size && !bytes.equals(data);
}

async function save(known, data, overwrite) {
    const now = await fs.stat(path);
    if (!overwrite && conflict(now, known, data, await fs.readFile(path)))
        return ["conflict", known];
    const file = await fs.open(path, "w");
    try {
        await file.write(data);
        if (sync)
            await file.datasync().catch(() => { sync = false; });
    } finally {
        await file.close();
    }
    return ["saved", await fs.stat(path)];
}

async function main() {
    await fs.readFile(path);
    let known = await fs.stat(path);
    let data;
    console.log("opened");
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const overwrite = line === "overwrite";
        let answer;
        if (!overwrite)
            data = Buffer.from(JSON.parse(line));
        try {
            [answer, known] = await save(known, data, overwrite);
        } catch (error) {
            answer = `failed: ${error.message}`;
        }
        console.log(answer);
    }
}

main();
