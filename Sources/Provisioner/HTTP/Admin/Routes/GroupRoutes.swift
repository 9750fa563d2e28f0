extension AdminRoutes {
  static let groups: [AdminRoute] = [
    .route(.get, "groups", .read, "Every group: those with settings, and those that nodes are in.") { call in
      call.appliance.groups()
    },
    .route(.get, "groups/{group}", .read, "What a group sets; null is left to the defaults.") { call in
      try call.appliance.group(call.group)
    },
    .route(
      .patch, "groups/{group}", .operate, "Set a key of a group, which comes to be where it is new.",
      body: SetGroup.self
    ) { call, change in
      try await call.appliance.setGroup(call.group, key: change.key, value: change.value)
    },
    .route(.delete, "groups/{group}", .admin, "Forget a group's settings; it must have no nodes.") { call in
      try await call.appliance.deleteGroup(call.group)
    },
    .route(.get, "groups/{group}/nodes", .read, "The nodes of a group.") { call in
      try call.appliance.groupNodes(call.group)
    },
    .route(.get, "groups/{group}/status", .read, "What the nodes of a group do.") { call in
      try call.appliance.groupStatus(call.group)
    },
    .route(.get, "tables/groups/{group}", .read, "What the nodes of a group do as a table for people.") { call in
      try call.appliance.groupStatusTable(call.group)
    },
  ]
}

extension AdminCall {
  /// The path's `{group}`.
  var group: String { pieces["group"] ?? "" }
}
