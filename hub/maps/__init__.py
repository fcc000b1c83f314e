"""Maps that load nothing from elsewhere: folium's pages taken apart for the hub's own frame, and an offline basemap."""
