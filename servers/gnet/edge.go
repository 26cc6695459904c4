//go:build edge

package main

// edgeTriggered is for the variant gnet-edge: an event is told once, not as long as there is something to read.
const edgeTriggered = true
