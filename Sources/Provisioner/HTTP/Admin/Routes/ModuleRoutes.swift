extension AdminRoutes {
  static let modules: [AdminRoute] = [
    .route(.get, "modules", .read, "Every module, and where it is active.") { call in call.appliance.modules() },
    .route(.get, "modules/{module}", .read, "One module.") { call in try call.appliance.module(call.module) },
    .route(
      .post, "modules", .admin, "Import a module, or a new version in place of the one there is.",
      body: ImportModule.self
    ) { call, module in try await call.appliance.importModule(module) },
    .route(
      .post, "modules/{module}/activate", .admin, "Activate a module: its own roles where none are named.",
      body: ModuleRoles.self
    ) { call, roles in try await call.appliance.activateModule(call.module, roles: roles.roles) },
    .route(
      .post, "modules/{module}/deactivate", .admin, "Deactivate a module: everywhere where no role is named.",
      body: ModuleRoles.self
    ) { call, roles in try await call.appliance.deactivateModule(call.module, roles: roles.roles) },
    .route(.delete, "modules/{module}", .admin, "Forget a module; it must be active nowhere.") { call in
      try await call.appliance.deleteModule(call.module)
    },
    .route(.get, "summary/modules", .read, "Each state, and the modules that are active in it.") { call in
      call.appliance.moduleStates()
    },
  ]
}

extension AdminCall {
  /// The path's `{module}`.
  var module: String { pieces["module"] ?? "" }
}
