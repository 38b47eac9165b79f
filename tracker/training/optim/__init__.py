"""Update rules, schedules, averaged weights, frozen layers."""
