#include "tests/model/regressions.h"

const struct regression regressions[] = {
	{"a draft becomes a version",
	 "mkdraft e0 d0 p1; fill e0 d0 n0 i1 t1 c1 p1; publish e0 d0 x3 p1;"},
	{"a temporary file in a context leaves a directory that versions without a context show",
	 "save e1 D5 f3 w5 k9 i0 t3 c0 a1 p2; put e1 i1;"},
	{"what is saved and belongs to no definition is seen, though a published file has its name",
	 "save e1 D5 f0 w5 k0 i1 t2 c0 a0 p0; save e1 D6 f3 w4 k7 i2 t2 c0 a1 p1;"},
	{"the reason of a failure goes with a save that puts a file aside",
	 "save e1 D8 f0 w11 k1 i3 t1 c0 a0 p2; save e1 D4 f1 w14 k6 i3 t2 c0 a1 p1;"},
	{"bytes that were refused twice are not part of the context that is published next",
	 "save e1 D7 f4 w13 k3 i0 t0 c0 a0 p1; save e1 D8 f4 w13 k4 i3 t2 c1 a1 p2;"
	 "save e1 D7 f3 w1 k8 i0 t2 c0 a1 p1;"},
	{"rm -r of a version with refused bytes in its context",
	 "save e1 D4 f3 w13 k9 i2 t3 c0 a0 p1; rm e1 v7;"},
	{"a draft with a dot takes any spec.yml, also with fsync",
	 "mkdraft e0 d1 p0; save e0 D1 f0 w1 k4 i0 t1 c1 a0 p0;"},
	{"a file of a draft with a dot that a child closes",
	 "mkdraft e0 d0 p2; save e0 D0 f0 w11 k11 i3 t3 c1 a0 p1;"},
	{"the backup comes back after a save that failed: no version, whatever was saved before",
	 "save e1 D7 f0 w1 k6 i1 t1 c0 a0 p1; save e1 D4 f0 w6 k1 i3 t2 c0 a1 p0;"},
	{"two saves of a program that names the version it began with",
	 "save e0 D3 f0 w0 k6 i1 t0 c0 a0 p1; save e0 D3 f0 w0 k6 i2 t0 c0 a0 p1;"
	 "save e0 D3 f0 w0 k6 i3 t0 c0 a0 p1;"},
	{"rm -r of a version with a file aside that has the name of a published one",
	 "save e1 D5 f0 w8 k0 i2 t2 c1 a1 p2; save e1 D4 f3 w5 k3 i3 t0 c1 a1 p1; rm e1 v3;"},
	{"a link takes the name of a published file",
	 "symlink e1 D4 f5 p1; rename e1 D8 f5 D7 f0 p2;"},
	{"a draft that names another environment, in the archive",
	 "mkdraft e1 d2 p1; fill e1 d2 n3 i0 t3 c1 p0; publish e1 d2 x1 p0; rm e1 v0;"},
	{"a file of a context that was saved and then half written by a process that was killed",
	 "save e1 D7 f2 w7 k3 i1 t0 c1 a1 p0; save e1 D6 f2 w13 k8 i0 t0 c1 a1 p0;"
	 "save e1 D4 f3 w1 k4 i2 t1 c0 a0 p2;"},
	{"the inode number of a file that was saved, after the kernel forgot it",
	 "save e0 D3 f1 w3 k6 i0 t3 c1 a1 p1; drop;"},
	{"a draft is complete by a rename, and the file is closed after that (GLib)",
	 "mkauto e0 d1 p0; save e0 D11 f0 w5 k7 i0 t3 c0 a1 p2;"},
	{"the same, where the text names another version than the draft",
	 "mkauto e0 d1 p0; save e0 D11 f0 w5 k5 i0 t3 c0 a1 p2;"},
	{"what lies in a draft and in the scratch, under one name",
	 "mkauto e1 d0 p2; save e1 D4 f6 w1 k9 i0 t3 c1 a1 p0; save e1 D10 f6 w2 k0 i1 t3 c1 a2 p2;"
	 "fillauto e1 d0 n3 i2 t2 c1 p0;"},
	{"two programs write to one file, and one ends",
	 "hold s1 a2 e1 D5 f3 p1; holdwrite s1 k10 i1 t3; save e1 D7 f3 w9 k5 i0 t1 c0 a0 p0;"
	 "end p1 h0;"},
	{"a temporary file in a directory of a context, and a version without that directory",
	 "save e1 D3 f4 w9 k7 i1 t0 c1 a3 p0; mkdraft e1 d0 p1; fill e1 d0 n2 i1 t3 c1 p1;"
	 "publish e1 d0 x3 p1;"},
	{"a file of a context is cut by a descriptor that was opened before its removal",
	 "hold s1 a2 e1 D9 f4 p1; rm e1 v7; holdcut s1 n0; remount c0;"},
	{"a mapping is written in a draft after the close, and completes it",
	 "mkauto e0 d1 p0; fillauto e0 d1 n2 i2 t3 c1 p0; save e0 D11 f0 w12 k6 i3 t1 c1 a3 p1;"},
	{"a version that is taken is named while the service is down",
	 "put e1 i3; fault F1; save e1 D3 f0 w6 k6 i2 t0 c0 a1 p0;"},
	{"the file system dies with files open and half written",
	 "hold s0 a0 e0 D3 f0 p1; holdwrite s0 k0 i1 t0; remount c1; hold s0 a1 e0 D3 f0 p1;"
	 "holdwrite s0 k3 i1 t0; remount c1;"},
	{"a draft with a context outlives a crash, and is not published by the next unmount",
	 "mkauto e0 d1 p2; fillauto e0 d1 n2 i0 t1 c0 p1; remount c1; remount c0;"},
	{"a process with threads ends without closing what it wrote (on a mount)",
	 "save e1 D5 f2 w14 k5 i0 t1 c0 a1 p1; save e1 D4 f1 w14 k0 i2 t2 c1 a1 p2;"},
};

const size_t regressions_count = sizeof(regressions) / sizeof(*regressions);
