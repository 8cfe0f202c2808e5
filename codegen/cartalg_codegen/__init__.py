"""Programs and printers: from exact rules to the kernels in generated/."""
