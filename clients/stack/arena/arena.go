// Package arena reserves memory outside Go's heap for the most that may be needed. Only
// pages that are touched become resident.
package arena

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reserve returns n zeroed elements outside Go's heap. Only pages that are touched
// become resident. T must not hold pointers: the garbage collector does not see them.
func Reserve[T any](n int) ([]T, error) {
	var zero T
	bytes, err := unix.Mmap(-1, 0, n*int(unsafe.Sizeof(zero)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&bytes[0])), n), nil
}

// Release gives back what Reserve returned.
func Release[T any](list []T) {
	var zero T
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&list[0])), len(list)*int(unsafe.Sizeof(zero)))
	unix.Munmap(bytes)
}
