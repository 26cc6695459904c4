package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"connbench/harness/record"
)

// Labels of what a run makes, and the name of the container in each pod.
const (
	runLabel  = "connbench/run"
	roleLabel = "connbench/role"
	container = "connbench"
)

// object is a piece of an object of the API.
type object = map[string]any

// A Job owns the pods of a role: it makes a pod anew that is gone, and when it goes, they go.
// It fails, and is removed with them, when its deadline is over, which the run moves on as
// long as it lives: so they go as well if the run is killed, or its machine is. That holds
// also for pods that do not run yet.
const (
	beatEvery   = 10 * time.Second
	beatsMissed = 45 * time.Second
)

// deadline is the activeDeadlineSeconds of a job that has lived for so long.
func deadline(age time.Duration) int64 { return int64((age + beatsMissed).Seconds()) }

// asleep is the command of a container: it sleeps until it is terminated. It then exits with a
// failure, because a Job does not replace a pod that succeeded. As process 1, its shell also
// reaps orphaned processes.
const asleep = `trap 'exit 143' TERM; while :; do sleep 3600 & wait $!; done`

// jobs are the Jobs of a run, as JSON for kubectl.
func jobs(f File, run string) ([]byte, error) {
	var items []object
	for _, s := range f.made() {
		items = append(items, object{
			"apiVersion": "batch/v1", "kind": "Job",
			"metadata": object{"name": jobName(run, s.role), "labels": labels(run, s.role)},
			"spec": object{
				"completionMode": "Indexed", "completions": s.count, "parallelism": s.count,
				"activeDeadlineSeconds": deadline(0), "ttlSecondsAfterFinished": 0,
				"backoffLimit": 1000,
				"template":     object{"metadata": object{"labels": labels(run, s.role), "annotations": s.Annotations}, "spec": s.pod(f, run)},
			},
		})
	}
	return json.Marshal(object{"apiVersion": "v1", "kind": "List", "items": items})
}

func jobName(run, role string) string { return fmt.Sprintf("connbench-%s-%s", run, role) }

func labels(run, role string) object {
	return object{"app.kubernetes.io/name": "connbench", runLabel: run, roleLabel: role}
}

// pod is the specification of the pods.
func (s set) pod(f File, run string) object {
	spec := object{
		"restartPolicy": "Never", "terminationGracePeriodSeconds": 2,
		"automountServiceAccountToken": false, "enableServiceLinks": false,
		"containers": []object{{
			"name": container, "image": f.Image,
			"command":   []string{"/bin/sh", "-c", asleep},
			"resources": object{"requests": s.Requests, "limits": s.Limits},
		}},
		"affinity": s.apart(f, run),
	}
	for key, value := range map[string]any{"nodeSelector": s.NodeSelector, "tolerations": s.Tolerations} {
		spec[key] = value
	}
	if f.HostNetwork {
		spec["hostNetwork"] = true
	}
	if len(f.PullSecrets) > 0 {
		var secrets []object
		for _, name := range f.PullSecrets {
			secrets = append(secrets, object{"name": name})
		}
		spec["imagePullSecrets"] = secrets
	}
	if len(s.Sysctls) > 0 {
		var sysctls []object
		for _, name := range slices.Sorted(maps.Keys(s.Sysctls)) {
			sysctls = append(sysctls, object{"name": name, "value": s.Sysctls[name]})
		}
		spec["securityContext"] = object{"sysctls": sysctls}
	}
	if s.role == record.RoleClient { // over as many nodes as there are
		spec["topologySpreadConstraints"] = []object{{
			"maxSkew": 1, "topologyKey": nodeName, "whenUnsatisfiable": "ScheduleAnyway",
			"labelSelector": object{"matchLabels": labels(run, s.role)},
		}}
	}
	return spec
}

// nodeName is the label of a node that has its name.
const nodeName = "kubernetes.io/hostname"

// apart is the affinity of the pods: the file's, and, unless asked for, no server on a node
// with a client, and nobody on one with another run. The scheduler holds those whose pods
// come first to it, too.
func (s set) apart(f File, run string) object {
	affinity := maps.Clone(s.Affinity)
	if f.SameNode {
		return affinity
	}
	terms := []any{from(
		object{"key": runLabel, "operator": "Exists"},
		object{"key": runLabel, "operator": "NotIn", "values": []string{run}},
	)}
	for _, other := range f.sets() {
		switch {
		case other.given != "":
			terms = append(terms, object{"topologyKey": nodeName, "labelSelector": object{"matchLabels": matched(other.given)}})
		case other.role != s.role:
			terms = append(terms, from(
				object{"key": runLabel, "operator": "In", "values": []string{run}},
				object{"key": roleLabel, "operator": "In", "values": []string{other.role}},
			))
		}
	}
	if affinity == nil {
		affinity = object{}
	}
	const key, required = "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"
	own, _ := affinity[key].(object)
	own = maps.Clone(own)
	if own == nil {
		own = object{}
	}
	given, _ := own[required].([]any)
	own[required] = append(slices.Clone(given), terms...)
	affinity[key] = own
	return affinity
}

// given is what the labels of pods that are not made look like.
var given = regexp.MustCompile(`^[^=!,\s]+=[^=!,\s]+(,[^=!,\s]+=[^=!,\s]+)*$`)

// matched are the labels of a text like a=b,c=d.
func matched(text string) object {
	labels := object{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(pair, "=")
		labels[key] = value
	}
	return labels
}

// from is a term of anti-affinity: away from the nodes of the pods that match.
func from(expressions ...object) object {
	return object{"topologyKey": nodeName, "labelSelector": object{"matchExpressions": expressions}}
}
