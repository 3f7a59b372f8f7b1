"""Programs over a horizon: how a window is put together, made smaller and solved."""
