package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"connbench/clients/addresses"
)

// pod is what the API says of a pod, as far as it matters here.
type pod struct {
	Metadata struct {
		Name              string            `json:"name"`
		Labels            map[string]string `json:"labels"`
		Annotations       map[string]string `json:"annotations"`
		CreationTimestamp string            `json:"creationTimestamp"`
		DeletionTimestamp string            `json:"deletionTimestamp"`
	} `json:"metadata"`
	Status struct {
		Phase      string                `json:"phase"`
		Reason     string                `json:"reason"`
		Message    string                `json:"message"`
		IP         string                `json:"podIP"`
		IPs        []struct{ IP string } `json:"podIPs"`
		Conditions []struct {
			Type, Status, Reason, Message string
		} `json:"conditions"`
		Containers []struct {
			Ready bool `json:"ready"`
			State struct {
				Waiting, Terminated *struct{ Reason, Message string }
			} `json:"state"`
		} `json:"containerStatuses"`
	} `json:"status"`
}

// indexNote is the annotation with a pod's number in its Job.
const indexNote = "batch.kubernetes.io/job-completion-index"

// index is the pod's number in its Job, -1 if it has none.
func (p pod) index() int {
	i, err := strconv.Atoi(p.Metadata.Annotations[indexNote])
	if err != nil {
		return -1
	}
	return i
}

// stuck is why a pod will not run: with the words of who says so.
type stuck struct {
	why, hint string
	// sysctl is the one that the node does not allow, "" if that is not why.
	sysctl string
}

// pulls are the states of a container whose image cannot be pulled.
var pulls = []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}

// starts are the states of a container that cannot be started.
var starts = []string{"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

// quoted is what a message has in quotation marks.
var quoted = regexp.MustCompile(`"([^"]+)"`)

// unscheduled is what pods wait for that no node takes.
const unscheduled = "it is not scheduled"

// look says whether the pod runs; if it does not yet, what it waits for; and if it never
// will, why.
func (p pod) look() (runs bool, waits string, never *stuck) {
	why := strings.TrimSpace(p.Status.Reason + ": " + p.Status.Message)
	if p.Status.Reason == "SysctlForbidden" {
		if parts := quoted.FindStringSubmatch(p.Status.Message); parts != nil {
			return false, "", &stuck{why: why, sysctl: parts[1]}
		}
	}
	for _, c := range p.Status.Containers {
		switch waiting, ended := c.State.Waiting, c.State.Terminated; {
		case waiting != nil && slices.Contains(pulls, waiting.Reason):
			return false, "", &stuck{why: "its image cannot be pulled: " + waiting.Message, hint: "name an image that the cluster's nodes can pull, and what secret that takes: image and pull_secrets"}
		case waiting != nil && slices.Contains(starts, waiting.Reason), ended != nil && ended.Message != "":
			if waiting == nil {
				waiting = ended
			}
			return false, "", &stuck{why: "its container does not start: " + waiting.Message, hint: "the image must have /bin/sh"}
		}
	}
	switch {
	case p.Status.Phase == "Failed" || p.Status.Phase == "Succeeded":
		// Its Job makes another one in its stead.
		return false, "it has ended: " + strings.Trim(why, ": "), nil
	case p.Status.Phase == "Running" && len(p.Status.Containers) > 0 && p.Status.Containers[0].Ready && p.Status.IP != "":
		return true, "", nil
	}
	for _, c := range p.Status.Conditions {
		if c.Type == "PodScheduled" && c.Status == "False" {
			return false, unscheduled + ": " + c.Message, nil
		}
	}
	return false, "it does not run", nil
}

// networksNote is the annotation in which plugins list the addresses of a pod in all its
// networks (the Network Plumbing Working Group's standard, 5.2).
const networksNote = "k8s.v1.cni.cncf.io/network-status"

// addresses are the pod's addresses that are in one of the prefixes; without any, its first.
func (p pod) addresses(prefixes []string) ([]string, error) {
	if len(prefixes) == 0 {
		return []string{p.Status.IP}, nil
	}
	var has []string
	for _, one := range p.Status.IPs {
		has = append(has, one.IP)
	}
	if note := p.Metadata.Annotations[networksNote]; note != "" {
		var networks []struct {
			IPs []string `json:"ips"`
		}
		if err := json.Unmarshal([]byte(note), &networks); err != nil {
			return nil, fmt.Errorf("annotation %s: %w", networksNote, err)
		}
		for _, network := range networks {
			has = append(has, network.IPs...)
		}
	}
	var used []string
	for _, text := range has {
		address, err := netip.ParseAddr(text)
		if err != nil || slices.Contains(used, text) {
			continue
		}
		if slices.ContainsFunc(prefixes, func(text string) bool {
			prefix, err := addresses.ParsePrefix(text)
			return err == nil && prefix.Contains(address)
		}) {
			used = append(used, text)
		}
	}
	if len(used) == 0 {
		return nil, fmt.Errorf("it has no address in %s, but %s", strings.Join(prefixes, ", "), strings.Join(has, ", "))
	}
	return used, nil
}
