extension AdminRoutes {
  static let nodes: [AdminRoute] = [
    .route(.get, "nodes", .read, "Nodes, with what holds for each of them now.", query: [.nodes]) { call in
      try call.appliance.nodes(call.nodes)
    },
    .route(.post, "nodes", .operate, "Add a node before its machine boots.", body: AddNode.self) { call, node in
      try await call.appliance.addNode(node)
    },
    .route(
      .patch, "nodes", .operate, "Set a key of nodes: of all of them or of none.", body: SetNodes.self
    ) { call, change in
      try await call.appliance.setNodes(change.nodes, key: change.key, value: change.value)
    },
    .route(
      .delete, "nodes", .admin, "Forget nodes, with their settings and timelines.",
      query: [.texts("node", "Nodes: a name, n00[00-97,99-199], n1*, or @group; at least one.")]
    ) { call in try await call.appliance.deleteNodes(call.nodes) },
    .route(
      .get, "nodes/{node}/timeline", .read, "What happened in a boot of a node, in order.",
      query: [.text("boot", "The boot's name; the last one where there is none.")]
    ) { call in
      try await call.appliance.nodeTimeline(call.node, boot: call.text("boot"))
    },
    .route(
      .get, "nodes/{node}/log", .read, "What a node reported in its last boots, and what was changed about it.",
      query: [.integer("count", 1...100_000, "The last so many; 1000 where it is not said.")]
    ) { call in
      try await call.appliance.nodeLog(call.node, count: call.integer("count") ?? 1000)
    },
    .route(
      .post, "nodes/{node}/replace", .admin, "Put another machine in a node's place.", body: ReplaceNode.self
    ) { call, replace in
      try await call.appliance.replaceNode(call.node, by: replace.by)
    },
    .route(.get, "nodes/{node}/why", .read, "What a node would get now, and why.") { call in
      try call.appliance.nodeWhy(call.node)
    },
    .stream(
      "nodes/{node}/trace", .operate, "The packets of a node's boot.",
      query: [
        .flag("kept", "Only what was kept until now: do not wait for packets."),
        .integer("seconds", 1...86400, "How long to wait for the node to be ready, at most; 600 where it is not said."),
        .integer("bytes", 1...(4096 << 20), "How large the file may become; 64 MiB where it is not said."),
      ], type: "application/x-pcapng", words: "A pcapng file that grows until the node is ready or a bound is reached."
    ) { call in
      try call.needsRunningAppliance("trace")
      let limits = NodeTrace.Limits(
        isLive: !call.isSet("kept"), seconds: call.integer("seconds") ?? 600, bytes: call.integer("bytes") ?? 64 << 20)
      let trace = try call.appliance.trace(call.node, limits)
      return { write in try await trace.run(write) }
    },
    .route(.get, "status", .read, "What nodes do, and when each was last heard of.", query: [.nodes]) { call in
      try call.appliance.nodeStatus(call.nodes)
    },
    .route(.get, "tables/nodes", .read, "Nodes as a table for people, quick for very many.", query: [.nodes]) { call in
      try call.appliance.nodeTable(call.nodes)
    },
    .route(
      .get, "tables/status", .read, "What nodes do as a table for people, quick for very many.", query: [.nodes]
    ) { call in try call.appliance.statusTable(call.nodes) },
    .route(.get, "summary/nodes", .read, "Counts of all nodes by state, capsule and group.") { call in
      try call.appliance.nodeSummary()
    },
    .route(.get, "summary/groups", .read, "Counts of each group's nodes by state.") { call in
      try call.appliance.groupSummary()
    },
  ]
}

extension AdminCall {
  /// The path's `{node}`.
  var node: String { pieces["node"] ?? "" }
}
