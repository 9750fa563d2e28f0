extension AdminRoutes {
  static let capsules: [AdminRoute] = [
    .route(.get, "vnfs", .read, "Every capsule, with its generations.") { call in call.appliance.capsules() },
    .route(.get, "vnfs/{vnfs}", .read, "One capsule.") { call in try call.appliance.capsule(call.vnfs) },
    .route(
      .post, "vnfs", .admin, "Give a name to a capsule that is in the content store: its next generation.",
      body: RegisterCapsule.self
    ) { call, capsule in
      try await call.appliance.registerCapsule(capsule.name, digest: capsule.digest, origin: capsule.origin)
    },
    .route(
      .get, "vnfs/{vnfs}/history", .read, "The generations of a capsule, the oldest first."
    ) { call in try call.appliance.capsule(call.vnfs).generations },
    .route(
      .post, "vnfs/{vnfs}/rollback", .admin, "Let another generation of a capsule boot from now on.",
      body: RollBack.self
    ) { call, target in
      try await call.appliance.rollBackCapsule(call.vnfs, to: target.generation)
    },
    .route(
      .post, "vnfs/{vnfs}/clone", .admin, "Make a capsule with another name of a generation of this one.",
      body: CloneCapsule.self
    ) { call, clone in
      try await call.appliance.cloneCapsule(call.vnfs, to: clone.name, generation: clone.generation)
    },
    .route(
      .get, "vnfs/{vnfs}/livesync", .read,
      "The nodes that run a capsule, and what became of what they were ordered to take over.", query: [.nodes]
    ) { call in try call.appliance.livesync(call.vnfs, nodes: call.nodes) },
    .route(
      .post, "vnfs/{vnfs}/livesync", .admin,
      "Let running nodes take over what is different in another generation, from blobs in the content store.",
      body: OrderLivesync.self
    ) { call, order in
      try await call.appliance.orderLivesync(call.vnfs, order)
    },
    .route(
      .post, "collection", .admin,
      "Remove generations beyond those that are kept, and blobs that nothing needs any more."
    ) { call in try await call.appliance.collect() },
    .route(.delete, "vnfs/{vnfs}", .admin, "Forget a capsule that no node is assigned to.") { call in
      try await call.appliance.deleteCapsule(call.vnfs)
    },
  ]
}

extension AdminCall {
  /// The path's `{vnfs}`.
  var vnfs: String { pieces["vnfs"] ?? "" }
}
