// Package reading is what is read of a host and of its processes, and what that means:
// what happened between two readings ([System.Since]), and what connections took of the
// kernel ([System.KernelBytes], [System.WithoutForeign]). Readings travel as JSON; the
// package probe takes them.
//
// A figure that could not be read is nil, and a warning says why; it is never 0.
package reading
