// Package version says which connbench this is.
package version

import "runtime/debug"

const unknown = "unknown"

// Changed ends the version of a program that was built from more than a commit.
const Changed = " and changes"

// Own is the version of this program: the revision that it was built from, followed
// by [Changed] where that is not all.
func Own() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	own, changed := info.Main.Version, ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			own = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			changed = Changed
		}
	}
	return own + changed
}

// Go is the version of Go that the program was built with.
func Go() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return unknown
}
