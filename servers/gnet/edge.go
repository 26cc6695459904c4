//go:build edge

package main

// edgeTriggered is for the variant gnet-edge: epoll reports an event once, instead of for as
// long as there is something to read.
const edgeTriggered = true
