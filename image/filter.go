package image

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
)

// predicate is one condition of a list.
type predicate func(*core.Image) bool

// filter turns the API's filters into a condition. Unknown filters and bad values are refused in Docker's words.
func (o *Organ) filter(ctx context.Context, filters core.Filters, all []core.Image) (predicate, error) {
	var conditions []predicate
	for key, values := range filters {
		if len(values) == 0 {
			continue
		}
		condition, err := o.condition(ctx, key, values, all)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, condition)
	}
	return func(image *core.Image) bool {
		return !slices.ContainsFunc(conditions, func(holds predicate) bool { return !holds(image) })
	}, nil
}

func (o *Organ) condition(ctx context.Context, key string, values []string, all []core.Image) (predicate, error) {
	switch key {
	case "dangling":
		wanted, err := parseBool(key, values)
		if err != nil {
			return nil, err
		}
		return func(image *core.Image) bool {
			return wanted == (len(image.RepoTags) == 0 && len(image.RepoDigests) == 0)
		}, nil
	case "label":
		return func(image *core.Image) bool { return hasLabels(image, values) }, nil
	case "label!":
		return func(image *core.Image) bool { return !hasAnyLabel(image, values) }, nil
	case "before", "since":
		other, err := o.Images().Lookup(ctx, values[0], core.Platform{})
		if err != nil {
			return nil, err
		}
		if key == "before" {
			return func(image *core.Image) bool { return image.Created.Before(other.Created) }, nil
		}
		return func(image *core.Image) bool { return image.Created.After(other.Created) }, nil
	case "until":
		if len(values) > 1 {
			return nil, core.Invalid("more than one until filter specified")
		}
		until, err := core.Moment(values[0])
		if err != nil {
			return nil, err
		}
		return func(image *core.Image) bool { return image.Created.Before(until) }, nil
	case "reference":
		matching := map[core.ImageID]bool{}
		for i := range all {
			for _, pattern := range values {
				matched, err := matchesReference(&all[i], pattern)
				if err != nil {
					return nil, err
				}
				matching[all[i].ID] = matching[all[i].ID] || matched
			}
		}
		return func(image *core.Image) bool { return matching[image.ID] }, nil
	}
	return nil, core.Invalid("invalid filter '%s'", key)
}

func parseBool(key string, values []string) (bool, error) {
	result, err := strconv.ParseBool(values[0])
	if err != nil || len(values) > 1 {
		return false, core.Invalid("invalid filter '%s=%s'", key, values)
	}
	return result, nil
}

// hasLabels reports whether an image has all of the labels "key" or "key=value".
func hasLabels(image *core.Image, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(label string) bool { return !hasAnyLabel(image, []string{label}) })
}

func hasAnyLabel(image *core.Image, wanted []string) bool {
	for _, label := range wanted {
		key, value, exact := strings.Cut(label, "=")
		if got, ok := image.Labels[key]; ok && (!exact || got == value) {
			return true
		}
	}
	return false
}
